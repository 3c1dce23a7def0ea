//! Two identities at one gateway, whose callers leave and whose receivers come and go (rows 1 and 3 of
//! the threats).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use anp_auth::{KeyKind, NewIdentity, create, write_secret};
use anp_gateway::{Config, Endpoint, config::Auth};
use anp_receiver::Proxies;
use anp_testkit::{App, RunningGateway, RunningReceiver, rig, soon};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
};

/// Bodies that are sent in all.
const BODIES: usize = 20_000;

/// Callers at once.
const CALLERS: usize = 16;

/// Bodies between two ends of a receiver.
const BETWEEN: usize = 1_000;

/// Somebody with an identity, an app that signs what it answers with a name, and a receiver.
struct Tenant {
    name: &'static str,
    did: String,
    directory: TempDir,
    app: App,
}

impl Tenant {
    async fn new(name: &'static str) -> Self {
        let identity = create(&NewIdentity {
            host: "did.example".into(),
            port: None,
            path: vec![name.into()],
            kind: KeyKind::Ed25519,
        })
        .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let document = identity.document.to_string();
        std::fs::write(directory.path().join("did.json"), document).unwrap();
        write_secret(&directory.path().join("key.pem"), &identity.private_key_pem).unwrap();
        let app = App::start(move |mut call| async move {
            while let Some(head) = call.head().await {
                let Some(body) = call.body(length(&head)).await else {
                    return;
                };
                call.answer(&format!("{name} got {}", String::from_utf8_lossy(&body)))
                    .await;
            }
        });
        Self {
            name,
            did: identity.did.to_string(),
            directory,
            app: app.await,
        }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint {
            name: self.name.into(),
            path: format!("/{}", self.name),
            owner: Some(self.did.parse().unwrap()),
            ..Endpoint::default()
        }
    }

    /// A receiver of this tenant, whose tunnel is ready.
    async fn receiver(&self, gateway: &RunningGateway) -> RunningReceiver {
        let at = |file: &str| Some(self.directory.path().join(file));
        let url = format!("ws://{}", gateway.tunnel());
        let config = anp_receiver::Config {
            name: None,
            did_document: at("did.json"),
            did_key: at("key.pem"),
            ..rig::receiver_config(&url, &self.app.url())
        };
        let mut receiver = RunningReceiver::start_with(config, Proxies::none());
        soon(receiver.ready()).await;
        receiver
    }
}

/// The content-length of a head.
fn length(head: &str) -> usize {
    let head = head.to_ascii_lowercase();
    let value = head.split("content-length: ").nth(1).unwrap_or("0");
    value.split("\r\n").next().unwrap().parse().unwrap()
}

/// What a caller saw.
enum Seen {
    /// This body, with 200.
    Body(String),
    /// A refusal of the gateway's.
    Refused,
    /// The end of the connection.
    Broken,
}

async fn ask(socket: &mut TcpStream, path: &str, body: &str) -> Option<Seen> {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.ok()?;
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read);
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.len() >= length(&format!("{head}\r\n"))
        {
            return Some(match head.starts_with("HTTP/1.1 200 ") {
                true => Seen::Body(body.to_owned()),
                false => Seen::Refused,
            });
        }
        if socket.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

/// Numbers without a pattern, the same in every run.
struct Random(u64);

impl Random {
    /// Below `end`.
    fn below(&mut self, end: u64) -> u64 {
        // xorshift64 (Marsaglia 2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// What all callers have seen together.
#[derive(Debug)]
struct Tally {
    sent: AtomicUsize,
    good: [AtomicUsize; 2],
    wrong: AtomicUsize,
    /// A permit each time that so many more bodies were sent.
    due: Semaphore,
}

/// Sends bodies with tags until enough were sent, and holds each answer against its tag.
async fn call(number: u64, gateway: std::net::SocketAddr, tally: Arc<Tally>) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (number + 1));
    let mut socket = None;
    loop {
        let sent = tally.sent.fetch_add(1, Relaxed);
        if sent >= BODIES {
            return;
        }
        if sent % BETWEEN == BETWEEN / 2 {
            tally.due.add_permits(1);
        }
        let tenant = usize::try_from(random.below(2)).unwrap();
        let name = ["alice", "bob"][tenant];
        let filling = "x".repeat(usize::try_from(random.below(3000)).unwrap());
        let tag = format!("{name} {number} {sent} {filling}");
        let mut used = match socket.take() {
            Some(socket) => socket,
            None => soon(TcpStream::connect(gateway)).await.unwrap(),
        };
        let path = format!("/{name}");
        let asked = ask(&mut used, &path, &tag);
        if random.below(40) == 0 {
            // Leaves at some point of it.
            let mut asked = Box::pin(asked);
            for _ in 0..random.below(4) {
                tokio::select! {
                    biased;
                    _ = &mut asked => break,
                    () = tokio::task::yield_now() => {}
                }
            }
            continue;
        }
        match soon(asked).await.unwrap_or(Seen::Broken) {
            Seen::Body(body) if body == format!("{name} got {tag}") => {
                tally.good[tenant].fetch_add(1, Relaxed);
                socket = Some(used);
            }
            Seen::Body(_) => {
                tally.wrong.fetch_add(1, Relaxed);
            }
            Seen::Refused => socket = Some(used),
            Seen::Broken => {}
        }
    }
}

#[tokio::test]
async fn row_3_no_body_reaches_a_caller_or_an_app_of_another_tenant() {
    let tenants = [Tenant::new("alice").await, Tenant::new("bob").await];
    let mut auth = Auth {
        public_names: vec!["127.0.0.1".parse().unwrap()],
        ..Auth::default()
    };
    auth.resolver.documents = tenants
        .iter()
        .map(|tenant| tenant.directory.path().join("did.json"))
        .collect();
    let gateway = RunningGateway::start(Config {
        endpoints: tenants.iter().map(Tenant::endpoint).collect(),
        auth: Some(auth),
        ..rig::gateway_config()
    })
    .await;
    let mut receivers = Vec::new();
    for tenant in &tenants {
        receivers.push(tenant.receiver(&gateway).await);
    }
    let tally = Arc::new(Tally {
        sent: AtomicUsize::new(0),
        good: Default::default(),
        wrong: AtomicUsize::new(0),
        due: Semaphore::new(0),
    });
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..CALLERS as u64 {
        callers.spawn(call(number, gateway.public(), tally.clone()));
    }
    // One receiver after the other is killed under load, and another comes.
    for round in 0..BODIES / BETWEEN {
        soon(tally.due.acquire()).await.unwrap().forget();
        let at = round % tenants.len();
        receivers.remove(at).kill().await;
        receivers.insert(at, tenants[at].receiver(&gateway).await);
    }
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
    let good = tally.good.each_ref().map(|good| good.load(Relaxed));
    assert_eq!(tally.wrong.load(Relaxed), 0);
    assert!(good.iter().all(|good| *good > BODIES / 4), "{good:?}");
}
