//! The token of a caller whose request the gateway answers itself.

use anp_auth::AuthForm;
use anp_gateway::Config;
use anpx::ResetCode;

use super::{URL, config, field, request, served, signed, values};
use crate::{
    identity::{Tenant, token_of},
    support::{Running, answer, body, start},
};

const ALICE: &str = r#"{"dids": ["domain:did.example"]}"#;
const BODY: &str = "the body that was signed";
const OTHER: &str = "another of the same size";

fn config_of(alice: &Tenant) -> Config {
    config(&[alice], ALICE)
}

/// A POST whose signed body is [`BODY`], without it.
fn post(alice: &Tenant) -> String {
    let proof = alice.signed_with(BODY, AuthForm::Signature, "POST", URL);
    let length = field("Content-Length", &BODY.len().to_string());
    request("POST", "/agent/x?y=1", &[proof, length].concat())
}

/// The head of the answer to a request of a caller who comes for it.
async fn asked(running: &Running, text: &str) -> String {
    let mut caller = running.caller().await;
    caller.send(text).await;
    caller.head().await
}

fn has_token(head: &str) -> bool {
    head.contains("access_token") || head.contains("\r\nauthorization:")
}

#[tokio::test]
async fn who_has_proven_it_gets_a_token_with_an_error_of_the_gateways_own() {
    let alice = Tenant::new("alice");
    let mut config = config_of(&alice);
    config.endpoints[1].endpoint_rate =
        Some(serde_json::from_str(r#"{"requests": "1/h"}"#).unwrap());
    let running = start(config).await;
    let get = || request("GET", "/agent/x?y=1", &signed(&alice));
    let head = asked(&running, &get()).await;
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert!(head.contains("cache-control: no-store"), "{head}");
    let bearer = field("Authorization", &format!("Bearer {}", token_of(&head)));

    // It is as good as any, and brings no other.
    let receiver = running.receiver().await;
    let (head, got) = served(&running, &receiver, "/agent/x?y=1", &bearer).await;
    let did = alice.identity.did.as_str();
    assert_eq!(values(&got, "anp-caller-did"), [did]);
    assert!(!has_token(&head), "{head}");
    receiver.kill().await;
    running.metrics_say("anp_gateway_tunnels 0").await;
    let head = asked(&running, &request("GET", "/agent/x?y=1", &bearer)).await;
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert!(!has_token(&head), "{head}");

    // The limits of the endpoint come behind the proof.
    let other = URL.replace("/agent/", "/other/");
    for status in ["503", "429"] {
        let proof = alice.signed(AuthForm::Signature, "GET", &other, None);
        let head = asked(&running, &request("GET", "/other/x?y=1", &proof)).await;
        assert_eq!(&head[9..12], status, "{head}");
        assert!(has_token(&head), "{head}");
    }
}

#[tokio::test]
async fn a_signed_body_is_proven_once_all_of_it_came() {
    let alice = Tenant::new("alice");
    let running = start(config_of(&alice)).await;
    let receiver = running.receiver().await;

    // The app breaks off: before the end of the body, and behind it.
    for is_whole in [false, true] {
        let mut caller = running.caller().await;
        let sent = if is_whole { BODY } else { &BODY[..1] };
        caller.send(post(&alice) + sent).await;
        let mut incoming = receiver.accept().await;
        if is_whole {
            let got = body(&mut incoming.body).await.unwrap();
            assert_eq!(got, BODY.as_bytes());
        }
        incoming.response.reset(ResetCode::UPSTREAM_FAILED);
        let head = caller.head().await;
        assert!(head.starts_with("HTTP/1.1 502"), "{head}");
        assert_eq!(has_token(&head), is_whole, "{head}");
    }
}

#[tokio::test]
async fn a_body_that_was_not_signed_gets_no_token() {
    let alice = Tenant::new("alice");
    let running = start(config_of(&alice)).await;
    let receiver = running.receiver().await;
    // With the head, and after the app has it.
    let head = asked(&running, &(post(&alice) + OTHER)).await;
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    assert!(!has_token(&head), "{head}");
    let mut caller = running.caller().await;
    caller.send(post(&alice) + &OTHER[..1]).await;
    let incoming = receiver.accept().await;
    caller.send(&OTHER[1..]).await;
    let head = caller.head().await;
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    assert!(!has_token(&head), "{head}");
    drop(incoming);

    // One that was, does.
    let mut caller = running.caller().await;
    caller.send(post(&alice) + BODY).await;
    let mut incoming = receiver.accept().await;
    assert!(body(&mut incoming.body).await.is_ok());
    answer(&mut incoming, 200, "app");
    assert!(has_token(&caller.head().await));
}
