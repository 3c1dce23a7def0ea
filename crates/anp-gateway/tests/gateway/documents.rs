//! DID documents that the gateway hosts for its own domain.

use anp_auth::{AuthForm, KeyKind};
use anp_gateway::{Config, Shutdown, config::DidEndpoints};
use serde_json::{Value, json};

use super::{
    api::Admin,
    callers::callers,
    identity::{Tenant, V2, bearer, config, shake, token_of, tunnel},
    support::{self, Running, answer, soon},
};

const HOST: &str = "gw.example";

/// A gateway that hosts the documents of its own name, and gives their DIDs endpoints.
fn hosting(directory: &std::path::Path) -> Config {
    let mut config = config(&[]);
    config.endpoint_store = Some(directory.join("endpoints.redb"));
    let auth = config.auth.as_mut().unwrap();
    auth.hosted_domain = Some(HOST.parse().unwrap());
    auth.did_endpoints = Some(DidEndpoints::default());
    config
}

async fn stop(running: Running) {
    running.shutdown.send_replace(Shutdown::Now);
    soon(running.ended).await.unwrap().unwrap();
}

/// The answer to `method target` of a caller who writes this host.
async fn ask(running: &Running, method: &str, host: &str, target: &str) -> String {
    let mut caller = running.caller().await;
    let request =
        format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    caller.send(&request).await;
    caller.rest().await
}

fn body(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn a_document_that_is_published_is_an_identity() {
    let directory = tempfile::tempdir().unwrap();
    let running = support::start(hosting(directory.path())).await;
    let mut admin = Admin::connect(running.admin).await;
    let alice = Tenant::of(HOST, &["alice"]);
    let did = alice.identity.did.to_string();
    let path = alice.identity.did.document_path();
    // Nobody is asked for it: not even this gateway itself.
    let proof = alice.proof(HOST);
    let (head, _) = shake(&running, &proof, &[V2]).await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    let missing = ask(&running, "GET", HOST, &path).await;
    assert!(missing.starts_with("HTTP/1.1 404"), "{missing}");

    let document = alice.identity.document.to_string();
    let (code, head, made) = admin.ask("POST", "/documents", &document).await;
    let location = format!("location: /documents/{did}\r\n");
    assert_eq!((code, &made["did"]), (201, &json!(did)), "{head}");
    assert!(head.contains(&location.to_ascii_lowercase()), "{head}");
    let served = ask(&running, "GET", HOST, &path).await;
    assert!(served.starts_with("HTTP/1.1 200"), "{served}");
    assert!(
        served.contains("content-type: application/did+json\r\n"),
        "{served}"
    );
    assert!(served.contains("cache-control: max-age=60\r\n"), "{served}");
    assert_eq!(body(&served), alice.identity.document);
    for (method, host, status) in [
        ("HEAD", HOST, "200"),
        ("POST", HOST, "405"),
        ("GET", "h", "404"),
    ] {
        let got = ask(&running, method, host, &path).await;
        assert_eq!(&got[9..12], status, "{method} {host}");
    }
    // The nonce of the proof above was not spent.
    let (head, caller) = shake(&running, &proof, &[V2]).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let receiver = tunnel(caller).await;
    let mut caller = running.caller().await;
    caller.get("/alice/x").await;
    answer(&mut receiver.accept().await, 200, "ok");
    caller.until("\r\n\r\nok").await;
    drop(receiver);
    stop(running).await;

    // It outlives the gateway, and is withdrawn for good.
    let running = support::start(hosting(directory.path())).await;
    let mut admin = Admin::connect(running.admin).await;
    assert_eq!(admin.get("/documents").await["total"], 1);
    let shown = admin.get(&format!("/documents/{did}")).await;
    assert_eq!(shown, alice.identity.document);
    let (code, _, _) = admin.ask("DELETE", &format!("/documents/{did}"), "").await;
    assert_eq!(code, 204);
    let gone = ask(&running, "GET", HOST, &path).await;
    assert!(gone.starts_with("HTTP/1.1 404"), "{gone}");
    stop(running).await;
    let running = support::start(hosting(directory.path())).await;
    let mut admin = Admin::connect(running.admin).await;
    assert_eq!(admin.get("/documents").await["total"], 0);
}

/// The key of a document ends, and what it opened and got with it.
#[tokio::test]
async fn a_document_that_is_withdrawn_ends_tunnels_and_tokens() {
    let directory = tempfile::tempdir().unwrap();
    let running = support::start(hosting(directory.path())).await;
    let mut admin = Admin::connect(running.admin).await;
    let of_p256 = |name| Tenant::with_key(HOST, &[name], KeyKind::P256);
    let (alice, bob, other_bob) = (Tenant::of(HOST, &["alice"]), of_p256("bob"), of_p256("bob"));
    let mut held = Vec::new();
    let mut tokens = Vec::new();
    for tenant in [&alice, &bob] {
        let document = tenant.identity.document.to_string();
        assert_eq!(admin.ask("POST", "/documents", &document).await.0, 201);
        let (head, caller) = shake(&running, &tenant.proof(HOST), &[V2]).await;
        held.push(tunnel(caller).await);
        tokens.push(bearer(&token_of(&head)));
        let (head, caller) = shake(&running, &tokens[tokens.len() - 1], &[V2]).await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        held.push(tunnel(caller).await);
    }
    let withdraw = |tenant: &Tenant| format!("/documents/{}", tenant.identity.did);
    assert_eq!(admin.ask("DELETE", &withdraw(&alice), "").await.0, 204);
    // The same DID, with another key behind the same name.
    assert_eq!(admin.ask("DELETE", &withdraw(&bob), "").await.0, 204);
    let document = other_bob.identity.document.to_string();
    assert_eq!(admin.ask("POST", "/documents", &document).await.0, 201);
    for receiver in held {
        let closed = soon(receiver.driver).await.unwrap();
        assert_eq!(closed.code.map(|code| code.0), Some(4004));
    }
    for fields in tokens
        .into_iter()
        .chain([alice.proof(HOST), bob.proof(HOST)])
    {
        let (head, _) = shake(&running, &fields, &[V2]).await;
        assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    }
    let (head, _) = shake(&running, &other_bob.proof(HOST), &[V2]).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    // Another key of a name is another DID, and has its place without a wait.
    let other_alice = Tenant::of(HOST, &["alice"]);
    let document = other_alice.identity.document.to_string();
    assert_eq!(admin.ask("POST", "/documents", &document).await.0, 201);
    let (head, _) = shake(&running, &other_alice.proof(HOST), &[V2]).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
}

#[tokio::test]
async fn a_caller_whose_document_is_withdrawn_loses_its_token() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = hosting(directory.path());
    config.callers = callers(r#"{"dids": ["domain:gw.example"]}"#);
    let running = support::start(config).await;
    let mut admin = Admin::connect(running.admin).await;
    let (alice, bob) = (Tenant::of(HOST, &["alice"]), Tenant::of(HOST, &["bob"]));
    for tenant in [&alice, &bob] {
        let document = tenant.identity.document.to_string();
        let (code, _, _) = admin.ask("POST", "/documents", &document).await;
        assert_eq!(code, 201);
    }
    let (head, caller) = shake(&running, &alice.proof(HOST), &[V2]).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let receiver = tunnel(caller).await;

    let call = async |fields: Vec<(String, String)>| {
        let mut caller = running.caller().await;
        let mut request = "GET /alice/x HTTP/1.1\r\nhost: gw.example\r\n".to_owned();
        for (name, value) in fields.iter().filter(|(name, _)| name != "Host") {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        caller.send(request + "\r\n").await;
        caller
    };
    let url = "http://gw.example/alice/x";
    let mut caller = call(bob.signed(AuthForm::Signature, "GET", url, None)).await;
    answer(&mut receiver.accept().await, 200, "app");
    let token = token_of(&caller.head().await);
    let mut caller = call(bearer(&token)).await;
    answer(&mut receiver.accept().await, 200, "app");
    assert!(caller.head().await.starts_with("HTTP/1.1 200"));

    let target = format!("/documents/{}", bob.identity.did);
    let (code, _, _) = admin.ask("DELETE", &target, "").await;
    assert_eq!(code, 204);
    let head = call(bearer(&token)).await.head().await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
}

#[tokio::test]
async fn what_would_take_anothers_place_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let running = support::start(hosting(directory.path())).await;
    let mut admin = Admin::connect(running.admin).await;
    let alice = Tenant::of(HOST, &["alice"]);
    let document = alice.identity.document.clone();
    assert_eq!(
        admin
            .ask("POST", "/documents", &document.to_string())
            .await
            .0,
        201
    );
    // The same again changes nothing.
    assert_eq!(
        admin
            .ask("POST", "/documents", &document.to_string())
            .await
            .0,
        201
    );

    let other = Tenant::of(HOST, &["alice"]).identity.document;
    let (code, text) = admin.problem("POST", "/documents", &other).await;
    assert_eq!(code, 409);
    assert!(text.contains(alice.identity.did.as_str()), "{text}");
    let mut forged = document.clone();
    forged["verificationMethod"] =
        Tenant::of(HOST, &["alice"]).identity.document["verificationMethod"].clone();
    assert_eq!(admin.problem("POST", "/documents", &forged).await.0, 422);
    let elsewhere = Tenant::of("did.example", &["alice"]).identity.document;
    assert_eq!(admin.problem("POST", "/documents", &elsewhere).await.0, 422);
    assert_eq!(admin.get("/documents").await["total"], 1);
    let unknown = "/documents/did:wba:gw.example:nobody";
    assert_eq!(admin.problem("DELETE", unknown, &json!({})).await.0, 404);
    assert_eq!(admin.problem("GET", unknown, &json!({})).await.0, 404);
}

#[tokio::test]
async fn a_gateway_that_hosts_none_takes_none() {
    let mut config = config(&[]);
    config.auth.as_mut().unwrap().allow = vec!["domain:gw.example".parse().unwrap()];
    let running = support::start(config).await;
    let mut admin = Admin::connect(running.admin).await;
    let identity = anp_auth::create(&anp_auth::NewIdentity {
        host: HOST.into(),
        port: None,
        path: Vec::new(),
        kind: KeyKind::P256,
    });
    let document = identity.unwrap().document;
    let (code, text) = admin.problem("POST", "/documents", &document).await;
    assert_eq!(code, 409);
    assert!(text.contains("gateway.auth.hosted_domain"), "{text}");
}
