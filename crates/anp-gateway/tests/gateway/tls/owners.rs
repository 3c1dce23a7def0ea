//! Who owns what, and for how long, over `wss://` and `https://` (rows 10, 12 and 17 of the threats).

use std::sync::{Arc, Mutex};

use anp_auth::AuthForm;
use anp_gateway::{Config, Endpoint, Gateway, config::Auth};
use anp_tls::TlsStream;
use anp_tunnel::units::Span;

use super::authority::{Authority, caller, connect, showing};
use crate::{
    identity::Tenant,
    support::{Caller, Receiver, Running, answer, run, soon, start},
};

/// A gateway under TLS where each of `tenants` (name, who) owns the endpoint of that name.
fn config(authority: &Authority, tenants: &[(&str, &Tenant)]) -> Config {
    let endpoint = |(name, tenant): &(&str, &Tenant)| Endpoint {
        name: (*name).to_owned(),
        path: format!("/{name}"),
        owner: tenant.owner(),
        ..Endpoint::default()
    };
    let mut auth = Auth {
        public_names: vec!["gate.example".parse().unwrap()],
        ..Auth::default()
    };
    let documents = tenants.iter().map(|(_, t)| t.dir.path().join("did.json"));
    auth.resolver.documents = documents.collect();
    Config {
        auth: Some(auth),
        endpoints: tenants.iter().map(endpoint).collect(),
        ..showing(&authority.issue("gate", &["gate.example"]))
    }
}

/// Sends a handshake with these fields; the head of the answer and the connection.
async fn shake(
    running: &Running,
    authority: &Authority,
    fields: &[(String, String)],
) -> (String, Caller<TlsStream>) {
    let client = authority.client(&[]);
    let mut caller = Caller::on(connect(running.tunnel, client).await.unwrap());
    let mut request = String::from(
        "GET /anpx HTTP/1.1\r\nHost: gate.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         Sec-WebSocket-Protocol: anpx.v2\r\n",
    );
    for (name, value) in fields {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    caller.send(request + "\r\n").await;
    (caller.head().await, caller)
}

fn proof(tenant: &Tenant) -> Vec<(String, String)> {
    tenant.signed(AuthForm::Signature, "GET", "wss://gate.example/anpx", None)
}

fn field(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// A tunnel that these fields open, and the head that gave it.
async fn tunnel(
    running: &Running,
    authority: &Authority,
    fields: &[(String, String)],
) -> (String, Receiver) {
    let (head, caller) = shake(running, authority, fields).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let receiver = Receiver::on_default(caller).await;
    running.all_ready().await;
    (head, receiver)
}

fn token_of(head: &str) -> &str {
    let (_, rest) = head.split_once("access_token=\"").unwrap();
    rest.split('"').next().unwrap()
}

async fn get(running: &Running, authority: &Authority, target: &str) -> Caller<TlsStream> {
    let mut caller = caller(running.public, authority).await;
    caller.get(target).await;
    caller
}

/// Row 12.
#[tokio::test]
async fn an_endpoint_is_its_owners_and_all_of_their_tunnels_serve_it() {
    let (alice, bob) = (Tenant::new("alice"), Tenant::new("bob"));
    let authority = Authority::new();
    let config = config(&authority, &[("alice", &alice), ("bob", &bob)]);
    let changed = Arc::new(Mutex::new(config.clone()));
    let source = changed.clone();
    let bound = Gateway::bind(config).await.unwrap();
    let bound = bound.reads(move || Ok(source.lock().unwrap().clone()));
    let reloader = bound.reloader();
    let running = run(bound);

    let mut claim = proof(&bob);
    claim.push(field("ANPX-Endpoint", "/alice"));
    let (head, _) = shake(&running, &authority, &claim).await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    let (_, mut left) = tunnel(&running, &authority, &proof(&alice)).await;
    let (_, mut gone) = tunnel(&running, &authority, &proof(&alice)).await;
    let (_, other) = tunnel(&running, &authority, &proof(&bob)).await;
    // One answers, the other takes what follows once the first is gone.
    let mut waiting = get(&running, &authority, "/alice/x").await;
    let mut request = tokio::select! {
        request = gone.accept() => request,
        request = left.accept() => {
            std::mem::swap(&mut left, &mut gone);
            request
        }
        _ = other.accept() => panic!("bob got what is alice's"),
    };
    answer(&mut request, 200, "hers");
    waiting.until("\r\n\r\nhers").await;
    gone.tunnel.drain();
    soon(gone.driver).await.unwrap();
    let mut waiting = get(&running, &authority, "/alice/y").await;
    answer(&mut left.accept().await, 200, "still");
    waiting.until("\r\n\r\nstill").await;

    {
        let mut config = changed.lock().unwrap();
        config.endpoints.retain(|endpoint| endpoint.name != "alice");
    }
    reloader.reload().unwrap();
    let closed = soon(left.driver).await.unwrap();
    assert_eq!(closed.code.map(|code| code.0), Some(4004));
    assert!(!other.driver.is_finished());
    let (head, _) = shake(&running, &authority, &proof(&alice)).await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
}

/// Row 10.
#[tokio::test]
async fn tokens_are_ours_or_nothing_and_end_with_what_they_opened() {
    let alice = Tenant::new("alice");
    let authority = Authority::new();
    let mut config = config(&authority, &[("alice", &alice)]);
    config.auth.as_mut().unwrap().token_lifetime = Span::from_secs(2);
    let running = start(config).await;
    // alg none, HS256, and one that is signed by nobody of ours.
    for token in [
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJkaWQ6d2JhOmEudGVzdCJ9.",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJkaWQ6d2JhOmEudGVzdCJ9.AAAA",
        "eyJhbGciOiJFZERTQSIsImtpZCI6ImEifQ.eyJzdWIiOiJkaWQ6d2JhOmEudGVzdCJ9.AAAA",
    ] {
        let bearer = [field("Authorization", &format!("Bearer {token}"))];
        let (head, _) = shake(&running, &authority, &bearer).await;
        assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    }
    let (head, signed) = tunnel(&running, &authority, &proof(&alice)).await;
    let bearer = [field(
        "Authorization",
        &format!("Bearer {}", token_of(&head)),
    )];
    let (_, by_token) = tunnel(&running, &authority, &bearer).await;
    let closed = soon(by_token.driver).await.unwrap();
    assert_eq!(closed.code.map(|code| code.0), Some(1001));
    assert!(!signed.driver.is_finished());
    let expired = async {
        while !shake(&running, &authority, &bearer)
            .await
            .0
            .starts_with("HTTP/1.1 401")
        {}
    };
    soon(expired).await;
}

/// Row 17.
#[tokio::test]
async fn what_strangers_say_of_themselves_is_removed() {
    let alice = Tenant::new("alice");
    let authority = Authority::new();
    let running = start(config(&authority, &[("alice", &alice)])).await;
    let (_, receiver) = tunnel(&running, &authority, &proof(&alice)).await;
    let mut caller = caller(running.public, &authority).await;
    caller
        .send(
            "GET /alice HTTP/1.1\r\nHost: gate.example\r\nX-Forwarded-For: 6.6.6.6\r\n\
             X-Forwarded-Proto: http\r\nX_Forwarded_Host: evil\r\nForwarded: for=6.6.6.6\r\n\
             ANP-Caller-DID: did:wba:evil\r\nConnection: X-Hop, X-Forwarded-For\r\nX-Hop: 1\r\n\
             X-Kept: 1\r\n\r\n",
        )
        .await;
    let mut request = receiver.accept().await;
    let fields = request.head.headers.iter();
    let fields = fields.filter(|(name, _)| *name != b"x-request-id");
    let fields: Vec<_> = fields
        .map(|(name, value)| [name, value].map(|text| std::str::from_utf8(text).unwrap()))
        .collect();
    assert_eq!(
        fields,
        [
            ["x-kept", "1"],
            ["x-forwarded-for", "127.0.0.1"],
            ["x-forwarded-proto", "https"],
            ["x-forwarded-host", "gate.example"],
            [
                "forwarded",
                "for=127.0.0.1;proto=https;host=\"gate.example\""
            ],
        ]
    );
    answer(&mut request, 200, "ok");
    caller.until("\r\n\r\nok").await;
}
