//! Endpoints that DIDs have by their names (row 12 of the threats).

use std::sync::{Arc, Mutex};

use anp_gateway::{
    Config, Gateway, Reloader,
    config::{DidEndpoints, PlaceMode},
};
use anp_tunnel::units::Span;
use serde_json::json;

use super::{
    api::Admin,
    identity::{Tenant, V2, bearer, config, endpoint, nonce_of, shake, token_of, tunnel},
    support::{self, Caller, Receiver, Running, answer, soon},
};

const HOST: &str = "gw.example";

/// A gateway where DIDs of agents.example have endpoints, and that knows `tenants`.
fn places(mode: PlaceMode, tenants: &[&Tenant]) -> Config {
    let mut config = config(&[]);
    config.public_url = Some(format!("https://{HOST}").parse().unwrap());
    let auth = config.auth.as_mut().unwrap();
    auth.did_endpoints = Some(DidEndpoints {
        domain: Some("agents.example".parse().unwrap()),
        mode,
        ..DidEndpoints::default()
    });
    let documents = tenants.iter().map(|t| t.dir.path().join("did.json"));
    auth.resolver.documents.extend(documents);
    config
}

fn agent(path: &[&str]) -> Tenant {
    Tenant::of("agents.example", path)
}

/// The head of the answer to a handshake of `tenant`.
async fn knock(running: &Running, tenant: &Tenant) -> (String, Caller) {
    shake(running, &tenant.proof(HOST), &[V2]).await
}

async fn connect(running: &Running, tenant: &Tenant) -> Receiver {
    let (head, caller) = knock(running, tenant).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    tunnel(caller).await
}

/// Asks for `target` at `host`, and has `receiver` answer.
async fn served(running: &Running, host: &str, target: &str, receiver: &Receiver) {
    let mut caller = running.caller().await;
    let request = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    caller.send(&request).await;
    let mut asked = receiver.accept().await;
    answer(&mut asked, 200, "ok");
    assert!(caller.rest().await.starts_with("HTTP/1.1 200"));
}

async fn status(running: &Running, target: &str) -> String {
    running.get(target).await[9..12].to_owned()
}

/// A gateway whose configuration can change.
async fn reloadable(config: Config) -> (Running, Reloader, Arc<Mutex<Config>>) {
    let now = Arc::new(Mutex::new(config.clone()));
    let source = now.clone();
    let bound = Gateway::bind(config).await.unwrap();
    let bound = bound.reads(move || Ok(source.lock().unwrap().clone()));
    let reloader = bound.reloader();
    (support::run(bound), reloader, now)
}

#[tokio::test]
async fn a_did_serves_the_path_of_its_name_while_it_is_there() {
    let (alice, stranger) = (agent(&["team", "alice"]), Tenant::new("mallory"));
    let mut config = places(PlaceMode::Path, &[&alice, &stranger]);
    let rule = config.auth.as_mut().unwrap().did_endpoints.as_mut();
    rule.unwrap().grace = Span::from_secs(1);
    let running = support::start(config).await;
    assert_eq!(status(&running, "/team/alice").await, "404");

    let (head, caller) = knock(&running, &alice).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let url = format!("anpx-public-url: https://{HOST}/team/alice/\r\n");
    assert!(head.contains(&url), "{head}");
    let receiver = tunnel(caller).await;
    served(&running, "any", "/team/alice/x?y", &receiver).await;
    assert_eq!(status(&running, "/team").await, "404");
    // Nothing of another domain is even asked for.
    let (head, _) = knock(&running, &stranger).await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");

    let mut admin = Admin::connect(running.admin).await;
    let did = alice.identity.did.to_string();
    let shown = admin.get(&format!("/endpoints/{did}")).await;
    assert_eq!(shown["source"], "did");
    assert_eq!(shown["place"], "*/team/alice");
    assert_eq!(shown["tunnels"], 1);
    assert_eq!(admin.get("/stats").await["endpoints"]["did"], 1);
    let path = format!("/endpoints/{did}");
    let (code, _) = admin.problem("DELETE", &path, &json!({})).await;
    assert_eq!(code, 409);

    // Gone, but known for a while; then as if it had never been.
    receiver.kill().await;
    while admin.get(&path).await["tunnels"] != 0 {}
    assert_eq!(status(&running, "/team/alice").await, "503");
    while admin.get("/stats").await["endpoints"]["did"] != 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(status(&running, "/team/alice").await, "404");
}

#[tokio::test]
async fn a_did_is_a_label_of_a_host_name() {
    let (alice, deep) = (agent(&["alice"]), agent(&["team", "bob"]));
    let running = support::start(places(PlaceMode::Host, &[&alice, &deep])).await;
    let (head, caller) = knock(&running, &alice).await;
    let url = "anpx-public-url: https://alice.agents.example/\r\n";
    assert!(head.contains(url), "{head}");
    let receiver = tunnel(caller).await;
    served(&running, "Alice.Agents.example:8080", "/x", &receiver).await;
    assert_eq!(status(&running, "/x").await, "404");
    let (head, _) = knock(&running, &deep).await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
}

/// Row 12 of the threats.
#[tokio::test]
async fn who_came_first_loses_nothing() {
    let first = agent(&["team", "alice"]);
    let others = [
        agent(&["team", "alice"]),
        agent(&["team", "alice", "tools"]),
        agent(&["team"]),
    ];
    let tenants: Vec<_> = others.iter().chain([&first]).collect();
    let running = support::start(places(PlaceMode::Path, &tenants)).await;
    let receiver = connect(&running, &first).await;
    for other in &others {
        let (head, mut caller) = knock(&running, other).await;
        assert!(head.starts_with("HTTP/1.1 403"), "{head}");
        let told = caller.until("\n").await;
        assert!(told.contains("is another's"), "{told}");
        assert!(!told.contains(first.identity.did.as_str()), "{told}");
    }
    for target in ["/team/alice", "/team/alice/tools/x"] {
        served(&running, "any", target, &receiver).await;
    }
    // A second tunnel of the first is one more of the pool, and its place is kept while it is away.
    let second = connect(&running, &first).await;
    receiver.kill().await;
    served(&running, "any", "/team/alice", &second).await;
    second.kill().await;
    let (head, _) = knock(&running, &others[0]).await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
}

/// Row 12 of the threats.
#[tokio::test]
async fn what_is_configured_comes_first() {
    let (alice, bob, owner) = (
        agent(&["alice"]),
        agent(&["bob", "x"]),
        Tenant::new("owner"),
    );
    let mut config = places(PlaceMode::Path, &[&alice, &bob, &owner]);
    config.endpoint_store = Some(alice.dir.path().join("endpoints.redb"));
    config.endpoints = vec![endpoint("bob", owner.owner())];
    let (running, reloader, now) = reloadable(config).await;
    // Within what is configured for somebody else.
    let (head, _) = knock(&running, &bob).await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    let (head, caller) = knock(&running, &alice).await;
    let token = token_of(&head);
    let receiver = tunnel(caller).await;

    // The registry takes the place, then gives it back.
    let mut admin = Admin::connect(running.admin).await;
    admin
        .add(&json!({"name": "a", "path": "/alice", "owner": "did:wba:a.example"}))
        .await;
    let closed = soon(receiver.driver).await.unwrap();
    assert_eq!(closed.code.map(|code| code.0), Some(4004));
    let (head, _) = knock(&running, &alice).await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    assert_eq!(admin.ask("DELETE", "/endpoints/a", "").await.0, 204);
    let (head, caller) = shake(&running, &bearer(&token), &[V2]).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let receiver = tunnel(caller).await;

    // A reload that leaves it alone, and one that has no such domain.
    assert_eq!(reloader.reload().unwrap().changed, [""; 0]);
    served(&running, "any", "/alice", &receiver).await;
    now.lock().unwrap().auth.as_mut().unwrap().did_endpoints = None;
    assert_eq!(reloader.reload().unwrap().changed, ["auth"]);
    let closed = soon(receiver.driver).await.unwrap();
    assert_eq!(closed.code.map(|code| code.0), Some(4004));
    assert_eq!(status(&running, "/alice").await, "404");
    let (head, _) = shake(&running, &bearer(&token), &[V2]).await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
}

/// A gateway on the listeners of another, which has gone.
async fn following(config: Config) -> Running {
    let old = Gateway::bind(config.clone()).await.unwrap();
    support::run(support::following(&old, config).await)
}

#[tokio::test]
async fn no_more_wait_for_the_receivers_of_names_than_in_a_queue() {
    let alice = agent(&["alice"]);
    let running = following(Config {
        queue_size: 0,
        ..places(PlaceMode::Path, &[&alice])
    })
    .await;
    assert_eq!(status(&running, "/alice").await, "503");
}

/// Row 35 of the threats: nobody's endpoint is written down anywhere that the next gateway looks.
#[tokio::test]
async fn a_gateway_that_follows_another_waits_for_the_receivers_of_names() {
    let alice = agent(&["alice"]);
    let running = following(places(PlaceMode::Path, &[&alice])).await;
    let mut early = running.caller().await;
    early.get("/alice/early").await;
    let (head, mut nonce) = knock(&running, &alice).await;
    // Signed before the gateway knew which nonces were used: once more, with its own.
    assert!(
        head.starts_with("HTTP/1.1 401") || head.starts_with("HTTP/1.1 101"),
        "{head}"
    );
    let receiver = match head.starts_with("HTTP/1.1 101") {
        true => tunnel(nonce).await,
        false => {
            nonce.until("\n").await;
            let nonce = nonce_of(&head);
            let (head, caller) = shake(&running, &alice.proof_of(HOST, Some(&nonce)), &[V2]).await;
            assert!(head.starts_with("HTTP/1.1 101"), "{head}");
            tunnel(caller).await
        }
    };
    answer(&mut receiver.accept().await, 200, "late");
    early.until("late").await;
}

#[tokio::test]
async fn who_waits_behind_others_for_the_first_receiver_waits_as_long() {
    let running = following(Config {
        queue_timeout: Span::from_millis(0),
        workers: Some(1),
        ..support::config()
    })
    .await;
    let mut callers = Vec::new();
    for _ in 0..3 {
        let mut caller = running.caller().await;
        caller.get("/").await;
        callers.push(caller);
    }
    // All of them wait before it comes.
    running.metrics_say("anp_gateway_queued_total 3").await;
    let receiver = running.receiver().await;
    for _ in &callers {
        answer(&mut receiver.accept().await, 200, "here");
    }
    for caller in &mut callers {
        caller.until("here").await;
    }
}

#[tokio::test]
async fn a_name_gives_no_say_over_documents_and_paths_of_the_gateway() {
    let alice = agent(&["alice"]);
    let reserved = [
        agent(&[".well-known"]),
        agent(&["x", "did.json"]),
        agent(&["anpx"]),
    ];
    let tenants: Vec<_> = reserved.iter().chain([&alice]).collect();
    let mut config = places(PlaceMode::Path, &tenants);
    config.tunnel_path = Some("/anpx".into());
    let running = support::start(config).await;
    for tenant in &reserved {
        let (head, _) = knock(&running, tenant).await;
        assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    }
    let receiver = connect(&running, &alice).await;
    for target in [
        "/alice/did.json",
        "/alice/e1_x/did.json?x",
        "/alice/bob/did.json",
    ] {
        assert_eq!(status(&running, target).await, "404", "{target}");
    }
    for target in ["/alice/did%2ejson", "/alice/x/..%2fdid.json"] {
        assert_eq!(status(&running, target).await, "400", "{target}");
    }
    served(&running, "any", "/alice/did.json/x", &receiver).await;
}
