//! Callers by secret and by address, and what may be configured.

use anp_auth::new_token;
use anp_gateway::Config;
use serde_json::json;

use super::{callers, config, field, refused, served, signed, values};
use crate::{
    api::Admin,
    identity::Tenant,
    support::{self, start},
};

/// `Authorization` of basic authentication.
fn basic(name: &str, secret: &str) -> Vec<(String, String)> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in format!("{name}:{secret}").as_bytes().chunks(3) {
        let bits = three
            .iter()
            .fold(0_u32, |bits, b| bits << 8 | u32::from(*b));
        let bits = bits << (8 * (3 - three.len()));
        for at in 0..4 {
            let digit = DIGITS[usize::try_from(bits >> (18 - 6 * at) & 63).unwrap()];
            text.push(if at <= three.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    field("Authorization", &format!("Basic {text}"))
}

#[tokio::test]
async fn a_user_shows_the_secret_of_that_name() {
    let (secret, hash) = new_token().unwrap();
    let (other, other_hash) = new_token().unwrap();
    let rule =
        json!({"basic": [{"name": "ann", "hash": hash}, {"name": "bo", "hash": other_hash}]});
    let running = start(config(&[], &rule.to_string())).await;
    let receiver = running.receiver().await;
    for (name, secret) in [("ann", &secret), ("bo", &other)] {
        let shown = basic(name, secret);
        let (_, got) = served(&running, &receiver, "/agent", &shown).await;
        assert_eq!(values(&got, "authorization"), [&shown[0].1]);
        assert_eq!(values(&got, "anp-caller-did"), [""; 0]);
    }
    let mut faces = Vec::new();
    for fields in [
        Vec::new(),
        basic("ann", &other),
        basic("ann", ""),
        basic("", &secret),
        basic("Ann", &secret),
        basic("ann", &secret[..secret.len() - 1]),
        [basic("ann", &secret), basic("ann", &secret)].concat(),
        field("Authorization", &format!("Bearer {secret}")),
    ] {
        faces.push(refused(&running, &fields).await);
    }
    faces.dedup();
    assert_eq!(faces.len(), 1, "{faces:?}");
    assert!(faces[0].starts_with("HTTP/1.1 401"), "{faces:?}");
    assert!(
        faces[0].contains("www-authenticate: Basic realm=\"callers\", charset=\"UTF-8\""),
        "{faces:?}"
    );
    assert!(!faces[0].contains("DIDWba"), "{faces:?}");
}

#[tokio::test]
async fn an_identity_or_a_secret_is_enough_but_the_address_must_fit() {
    let alice = Tenant::new("alice");
    let (secret, hash) = new_token().unwrap();
    let rule = json!({
        "dids": ["*"],
        "basic": [{"name": "ann", "hash": hash}],
        "networks": ["192.0.2.0/24", "2001:db8::/32"],
    });
    let mut config = config(&[&alice], &rule.to_string());
    config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    let running = start(config).await;
    let receiver = running.receiver().await;
    let from = |address: &str, proof: &[(String, String)]| {
        [field("X-Forwarded-For", address), proof.to_vec()].concat()
    };
    let inside = "192.0.2.7";
    let (_, got) = served(
        &running,
        &receiver,
        "/agent",
        &from(inside, &basic("ann", &secret)),
    )
    .await;
    assert_eq!(values(&got, "anp-caller-did"), [""; 0]);
    let proof = from("2001:db8::1", &signed(&alice));
    let (_, got) = served(&running, &receiver, "/agent/x?y=1", &proof).await;
    assert_eq!(
        values(&got, "anp-caller-did"),
        [alice.identity.did.as_str()]
    );
    let head = refused(&running, &from(inside, &[])).await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    assert!(
        head.contains("DIDWba ") && head.contains("Basic "),
        "{head}"
    );
    // What is proven from elsewhere is not even looked at, nor its nonce spent.
    let proof = signed(&alice);
    for outside in ["198.51.100.1", "192.0.2.7, 198.51.100.1"] {
        for proof in [&proof[..], &basic("ann", &secret), &[]] {
            let head = refused(&running, &from(outside, proof)).await;
            assert!(head.starts_with("HTTP/1.1 403"), "{head}");
            assert!(!head.contains("www-authenticate"), "{head}");
        }
    }
    let _ = served(&running, &receiver, "/agent/x?y=1", &from(inside, &proof)).await;
}

#[tokio::test]
async fn an_address_alone_can_be_asked_for_and_one_endpoint_can_ask_for_nothing() {
    let mut config = config(&[], r#"{"networks": ["192.0.2.0/24"]}"#);
    config.callers = callers(r#"{"networks": ["127.0.0.0/8"]}"#);
    config.endpoints[1].callers = None;
    let running = start(config.clone()).await;
    let receiver = running.receiver().await;
    let head = refused(&running, &[]).await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    // That of the gateway, and none.
    let _ = served(&running, &receiver, "/other", &[]).await;
    config.callers = callers(r#"{"networks": ["192.0.2.0/24"]}"#);
    config.endpoints[0].callers = callers("false");
    let running = start(config).await;
    let receiver = running.receiver().await;
    let _ = served(&running, &receiver, "/agent", &[]).await;
    let mut caller = running.caller().await;
    caller.send(super::request("GET", "/other", &[])).await;
    assert!(caller.head().await.starts_with("HTTP/1.1 403"));
}

#[tokio::test]
async fn a_preflight_needs_no_proof_and_a_script_may_read_the_refusal() {
    let mut config = config(&[], r#"{"dids": ["*"]}"#);
    config.cors = Some(serde_json::from_str(r#"{"origins": ["https://app.example"]}"#).unwrap());
    let running = start(config).await;
    let mut caller = running.caller().await;
    let origin = field("Origin", "https://app.example");
    let method = field("Access-Control-Request-Method", "PUT");
    let ask = [origin.clone(), method].concat();
    caller.send(super::request("OPTIONS", "/agent", &ask)).await;
    let head = caller.head().await;
    assert!(head.starts_with("HTTP/1.1 204"), "{head}");
    let head = refused(&running, &origin).await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    assert!(
        head.contains("access-control-allow-origin: https://app.example"),
        "{head}"
    );
    // Nor does what only looks like one get by.
    let mut caller = running.caller().await;
    caller
        .send(super::request("OPTIONS", "/agent", &origin))
        .await;
    assert!(caller.head().await.starts_with("HTTP/1.1 401"));
}

#[tokio::test]
async fn who_may_not_call_uses_up_nothing_of_the_endpoint() {
    let (secret, hash) = new_token().unwrap();
    let rule = json!({"basic": [{"name": "ann", "hash": hash}]});
    let mut config = config(&[], &rule.to_string());
    config.endpoints[0].endpoint_rate =
        Some(serde_json::from_str(r#"{"requests": "1/h"}"#).unwrap());
    let running = start(config).await;
    let receiver = running.receiver().await;
    for _ in 0..3 {
        let head = refused(&running, &[]).await;
        assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    }
    let ann = basic("ann", &secret);
    let _ = served(&running, &receiver, "/agent", &ann).await;
    let head = refused(&running, &ann).await;
    assert!(head.starts_with("HTTP/1.1 429"), "{head}");
}

#[tokio::test]
async fn the_registry_takes_rules_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&[], r#"{"dids": ["*"]}"#);
    config.endpoint_store = Some(dir.path().join("endpoints.redb"));
    config.endpoints.clear();
    let running = start(config).await;
    let mut admin = Admin::connect(running.admin).await;
    let lab = json!({"name": "lab", "path": "/agent", "receivers": ["r"]});
    admin.add(&lab).await;
    let receiver = running.receiver().await;
    let _ = served(&running, &receiver, "/agent/x?y=1", &[]).await;
    let mut guarded = lab.clone();
    guarded["callers"] = json!({"networks": ["192.0.2.0/24"]});
    let (status, _, shown) = admin
        .ask("PUT", "/endpoints/lab", &guarded.to_string())
        .await;
    assert_eq!(status, 200);
    assert_eq!(shown["settings"]["callers"], guarded["callers"]);
    assert!(refused(&running, &[]).await.starts_with("HTTP/1.1 403"));
    for (bad, key) in [
        (json!({}), "callers: names nobody"),
        (json!({"dids": ["example.com"]}), "expected a DID"),
        (
            json!({"dids": ["*", "*"]}),
            "callers.dids: \"*\" is there twice",
        ),
        (json!({"users": []}), "users"),
        (json!(true), "expected false, or a table"),
    ] {
        let mut settings = lab.clone();
        settings["callers"] = bad;
        let (status, detail) = admin.problem("PUT", "/endpoints/lab", &settings).await;
        assert_eq!(status, 422, "{detail}");
        assert!(detail.contains(key), "{detail}");
    }
}

#[test]
fn identities_need_the_means_to_prove_them() {
    let needs = |config: &Config| config.validate().unwrap_err().to_string();
    let mut with = config(&[], r#"{"dids": ["*"]}"#);
    assert_eq!(with.validate(), Ok(()));
    with.auth = None;
    let error = needs(&with);
    assert!(error.starts_with("endpoints[0].callers.dids: "), "{error}");
    assert!(error.contains("[gateway.auth]"), "{error}");
    let mut all = support::config();
    all.callers = callers(r#"{"dids": ["*"]}"#);
    assert!(needs(&all).starts_with("callers.dids: "));
    all.callers = callers(r#"{"networks": ["::1"]}"#);
    assert_eq!(all.validate(), Ok(()));
    let (_, hash) = new_token().unwrap();
    let twice = json!({"basic": [{"name": "a", "hash": hash}, {"name": "b", "hash": hash}]});
    all.callers = callers(&twice.to_string());
    assert!(needs(&all).starts_with("callers.basic: "));
}

#[tokio::test]
async fn limits_count_before_proof_is_looked_at() {
    let mut config = config(&[], r#"{"dids": ["*"]}"#);
    config.client_rate = Some(serde_json::from_str(r#"{"requests": "1/h"}"#).unwrap());
    let running = start(config).await;
    assert!(refused(&running, &[]).await.starts_with("HTTP/1.1 401"));
    assert!(refused(&running, &[]).await.starts_with("HTTP/1.1 429"));
}
