//! Receivers that have to prove who they are (rows 1, 10 and 12 of the threats).

use std::{net::SocketAddr, path::Path};

use anp_auth::{
    AuthForm, Identity, KeyKind, NewIdentity, Signer, Target, TokenHash, create, new_token,
    write_secret,
};
use anp_gateway::{
    Config, Endpoint, Shutdown,
    config::{Auth, PresharedToken},
};
use anp_tunnel::{TunnelConfig, Version, units::Span};
use anpx::session::Role;
use tempfile::TempDir;

use super::support::{self, Caller, Receiver, Running, soon};

/// Somebody with an identity: the files of it, and what signs.
pub(crate) struct Tenant {
    pub(crate) identity: Identity,
    signer: Signer,
    pub(crate) dir: TempDir,
}

impl Tenant {
    pub(crate) fn new(name: &str) -> Self {
        let identity = create(&NewIdentity {
            host: "did.example".into(),
            port: None,
            path: vec![name.into()],
            kind: KeyKind::Ed25519,
        })
        .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (document, key) = (dir.path().join("did.json"), dir.path().join("key.pem"));
        std::fs::write(&document, identity.document.to_string()).unwrap();
        write_secret(&key, &identity.private_key_pem).unwrap();
        let signer = Signer::load(&document, &key).unwrap();
        Self {
            identity,
            signer,
            dir,
        }
    }

    pub(crate) fn owner(&self) -> Option<anp_gateway::Owner> {
        Some(self.identity.did.as_str().parse().unwrap())
    }

    /// The headers of a handshake, signed for the name `host`.
    fn proof(&self, host: &str) -> Vec<(String, String)> {
        let mut fields = vec![("Host".to_owned(), host.to_owned())];
        let url = format!("ws://{host}/anpx");
        fields.extend(self.signed(AuthForm::Signature, "GET", &url, None));
        fields
    }

    /// The headers that prove a request.
    pub(crate) fn signed(
        &self,
        form: AuthForm,
        method: &str,
        url: &str,
        nonce: Option<&str>,
    ) -> Vec<(String, String)> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = i64::try_from(now.unwrap().as_secs()).unwrap();
        let target = Target::of(method, url).unwrap();
        let headers = self.signer.headers(form, &target, nonce, now).unwrap();
        let headers = headers.into_iter();
        headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect()
    }
}

fn endpoint(name: &str, owner: Option<anp_gateway::Owner>) -> Endpoint {
    Endpoint {
        name: name.into(),
        path: format!("/{name}"),
        owner,
        ..Endpoint::default()
    }
}

/// A gateway that knows `tenants`, each with an endpoint of its name.
fn config(tenants: &[(&str, &Tenant)]) -> Config {
    let mut config = support::config();
    config.endpoints = tenants
        .iter()
        .map(|(name, tenant)| endpoint(name, tenant.owner()))
        .collect();
    let mut auth = Auth {
        public_names: vec!["gw.example".parse().unwrap()],
        ..Auth::default()
    };
    auth.resolver.documents = tenants
        .iter()
        .map(|(_, tenant)| tenant.dir.path().join("did.json"))
        .collect();
    config.auth = Some(auth);
    config
}

/// Sends a handshake; the head of the answer and the connection.
pub(crate) async fn shake(
    running: &Running,
    fields: &[(String, String)],
    more: &[(&str, &str)],
) -> (String, Caller) {
    let mut caller = Caller::connect(running.tunnel).await;
    let mut request = String::from(
        "GET /anpx HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
    );
    let fields = fields.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    for (name, value) in fields.chain(more.iter().copied()) {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    caller.send(&request).await;
    let head = caller.head().await;
    (head, caller)
}

const V2: (&str, &str) = ("Sec-WebSocket-Protocol", "anpx.v2");

async fn tunnel(caller: Caller) -> Receiver {
    Receiver::on(caller, Version::V2, TunnelConfig::new(Role::Receiver)).await
}

fn token_of(head: &str) -> String {
    let Some((_, rest)) = head.split_once("access_token=\"") else {
        panic!("no token: {head}");
    };
    rest.split('"').next().unwrap().to_owned()
}

fn bearer(token: &str) -> Vec<(String, String)> {
    vec![
        ("Host".into(), "gw.example".into()),
        ("Authorization".into(), format!("Bearer {token}")),
    ]
}

#[tokio::test]
async fn whoever_proves_it_serves_what_is_his_and_nobody_else_does() {
    let (alice, bob) = (Tenant::new("alice"), Tenant::new("bob"));
    let mut config = config(&[("alice", &alice), ("bob", &bob)]);
    config.public_url = Some("https://gw.example".into());
    let running = support::start(config).await;
    let proof = alice.proof("gw.example");
    let (head, caller) = shake(&running, &proof, &[V2, ("ANPX-Endpoint", "/alice")]).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(
        head.contains("anpx-public-url: https://gw.example/alice/\r\n"),
        "{head}"
    );
    let token = token_of(&head);
    assert!(
        head.contains(&format!("authorization: Bearer {token}\r\n")),
        "{head}"
    );
    let _alice = tunnel(caller).await;
    assert!(running.get("/bob").await.starts_with("HTTP/1.1 503"));

    // The same header again, one for another service, none, and somebody else's place.
    let (head, _) = shake(&running, &proof, &[V2]).await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    assert!(
        head.contains("error=\"invalid_nonce\"") && head.contains("nonce=\""),
        "{head}"
    );
    let mut faces = Vec::new();
    for fields in [
        bob.proof("evil.example"),
        Vec::new(),
        bearer("anp_x"),
        bearer("a.b.c"),
    ] {
        let (head, _) = shake(&running, &fields, &[V2]).await;
        assert!(head.starts_with("HTTP/1.1 401"), "{head}");
        let lines = head.lines().filter(|line| !line.starts_with("date"));
        faces.push(lines.collect::<Vec<_>>().join("\n"));
    }
    faces.dedup();
    assert_eq!(faces.len(), 1, "{faces:?}");
    let stranger = Tenant::new("mallory");
    let (head, _) = shake(&running, &stranger.proof("gw.example"), &[V2]).await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    let proof = bob.proof("gw.example");
    let (head, _) = shake(&running, &proof, &[V2, ("ANPX-Endpoint", "/alice")]).await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");

    // The token opens another tunnel of the same owner and brings no other token.
    let (head, _) = shake(
        &running,
        &bearer(&token),
        &[V2, ("ANPX-Endpoint", "/alice")],
    )
    .await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(!head.contains("access_token"), "{head}");
}

#[tokio::test]
async fn an_old_receiver_is_told_after_the_upgrade() {
    let alice = Tenant::new("alice");
    let running = support::start(config(&[("alice", &alice)])).await;
    let (head, mut caller) = shake(&running, &[], &[]).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let rest = caller.rest_bytes().await;
    // A close frame with 4003.
    assert_eq!(rest.get(..1), Some(&[0x88][..]));
    assert_eq!(rest.get(2..4), Some(&4003_u16.to_be_bytes()[..]));
}

#[tokio::test]
async fn a_tunnel_ends_when_its_permission_does() {
    let (alice, bob) = (Tenant::new("alice"), Tenant::new("bob"));
    let mut config = config(&[("bob", &bob)]);
    let (token, hash) = new_token().unwrap();
    config
        .endpoints
        .push(endpoint("lab", Some("token:lab".parse().unwrap())));
    config.endpoints.push(Endpoint {
        owner: alice.owner(),
        ..endpoint("alice", None)
    });
    let auth = config.auth.as_mut().unwrap();
    auth.resolver
        .documents
        .push(alice.dir.path().join("did.json"));
    auth.tokens = vec![PresharedToken {
        name: "lab".into(),
        hash,
    }];
    let changed = std::sync::Arc::new(std::sync::Mutex::new(config.clone()));
    let source = changed.clone();
    let bound = anp_gateway::Gateway::bind(config).await.unwrap();
    let bound = bound.reads(move || Ok(source.lock().unwrap().clone()));
    let reloader = bound.reloader();
    let running = support::run(bound);
    let mut held = Vec::new();
    for fields in [
        alice.proof("gw.example"),
        bearer(&token),
        bob.proof("gw.example"),
    ] {
        let (head, caller) = shake(&running, &fields, &[V2]).await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        held.push(tunnel(caller).await);
    }
    {
        let mut config = changed.lock().unwrap();
        config.endpoints.retain(|endpoint| endpoint.name != "alice");
        config.auth.as_mut().unwrap().tokens.clear();
    }
    let reloaded = reloader.reload().unwrap();
    assert_eq!(reloaded.changed, ["auth", "endpoints"]);
    let bob = held.pop().unwrap();
    for receiver in held {
        let closed = soon(receiver.driver).await.unwrap();
        assert_eq!(closed.code.map(|code| code.0), Some(4004));
    }
    assert!(!bob.driver.is_finished());
    let (head, _) = shake(&running, &bearer(&token), &[V2]).await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
}

#[tokio::test]
async fn a_tunnel_that_a_token_opened_drains_before_the_token_ends() {
    let alice = Tenant::new("alice");
    let mut config = config(&[("alice", &alice)]);
    config.auth.as_mut().unwrap().token_lifetime = Span::from_secs(2);
    let running = support::start(config).await;
    let proof = alice.proof("gw.example");
    let (head, caller) = shake(&running, &proof, &[V2]).await;
    let signed = tunnel(caller).await;
    let (head, caller) = shake(&running, &bearer(&token_of(&head)), &[V2]).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let by_token = tunnel(caller).await;
    let closed = soon(by_token.driver).await.unwrap();
    assert_eq!(closed.code.map(|code| code.0), Some(1001));
    assert!(!signed.driver.is_finished());
}

#[tokio::test]
async fn a_key_and_nonces_outlive_the_gateway() {
    let alice = Tenant::new("alice");
    let state = tempfile::tempdir().unwrap();
    let mut config = config(&[("alice", &alice)]);
    let auth = config.auth.as_mut().unwrap();
    auth.keep_state_in(&state.path().join("made"));
    let running = support::start(config.clone()).await;
    let proof = alice.proof("gw.example");
    let (head, caller) = shake(&running, &proof, &[V2]).await;
    let token = token_of(&head);
    drop(caller);
    running.shutdown.send_replace(Shutdown::Now);
    soon(running.ended).await.unwrap().unwrap();

    let running = support::start(config).await;
    let (head, _) = shake(&running, &proof, &[V2]).await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    assert!(head.contains("invalid_nonce"), "{head}");
    let (head, _) = shake(&running, &bearer(&token), &[V2]).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt;
        let file = state.path().join("made").join(name);
        std::fs::metadata(Path::new(&file))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!((mode("tokens.pem"), mode("nonces.redb")), (0o600, 0o600));
}

#[test]
fn a_configuration_that_would_be_unsafe_is_refused_with_the_way_out() {
    let alice = Tenant::new("alice");
    let mut good = config(&[("alice", &alice)]);
    good.tunnel_listen = SocketAddr::from(([0, 0, 0, 0], 8765));
    good.plain_tunnels = true;
    assert_eq!(good.validate(), Ok(()));
    let refused = |spoil: &dyn Fn(&mut Config)| {
        let mut config = good.clone();
        spoil(&mut config);
        config.validate().unwrap_err().to_string()
    };
    let error = refused(&|c| c.auth.as_mut().unwrap().required = false);
    assert!(
        error.contains("allow_public_without_authentication"),
        "{error}"
    );
    let error = refused(&|c| c.auth = None);
    assert!(error.contains("[gateway.auth]"), "{error}");
    let error = refused(&|c| c.auth.as_mut().unwrap().public_names.clear());
    assert!(error.starts_with("auth.public_names: "), "{error}");
    let error = refused(&|c| c.endpoints[0].receivers = vec!["r".into()]);
    assert!(
        error.starts_with("endpoints[0].receivers: ") && error.contains("owner ="),
        "{error}"
    );
    let error = refused(&|c| c.endpoints[0].owner = Some("did:web:a.example".parse().unwrap()));
    assert!(error.starts_with("endpoints[0].owner: "), "{error}");
    let hash: TokenHash = new_token().unwrap().1;
    let token = |name: &str| PresharedToken {
        name: name.into(),
        hash,
    };
    let error = refused(&|c| c.auth.as_mut().unwrap().tokens = vec![token("a"), token("b")]);
    assert!(error.starts_with("auth.tokens: "), "{error}");
    let error = refused(&|c| c.public_url = Some("gw.example".into()));
    assert!(error.starts_with("public_url: "), "{error}");
}
