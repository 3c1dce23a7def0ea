//! Callers with an identity.

use anp_auth::AuthForm;
use anp_gateway::Gateway;
use anpx::session::End;
use h2::client;
use http::{HeaderMap, Request};

use super::{
    URL, callers, config, field, knock, refused, request, served, signed, tunnel_of, values,
};
use crate::{
    identity::{Tenant, nonce_of, token_of},
    support::{self, answer, head, soon, start},
};

const ALICE: &str = r#"{"dids": ["domain:did.example"]}"#;

#[tokio::test]
async fn the_app_learns_who_calls_from_the_gateway_alone() {
    let alice = Tenant::new("alice");
    let did = alice.identity.did.to_string();
    let running = start(config(&[&alice], ALICE)).await;
    let receiver = running.receiver().await;
    for form in [AuthForm::Signature, AuthForm::DidWba, AuthForm::DidWba11] {
        let proof = alice.signed(form, "GET", URL, None);
        let mut fields = proof.clone();
        for name in [
            "ANP-Caller-DID",
            "anp_caller_did",
            "Anp-Caller_Did",
            "anp.caller.did",
        ] {
            fields.extend(field(name, "did:wba:evil.example"));
        }
        let (head, got) = served(&running, &receiver, "/agent/x?y=1", &fields).await;
        let about: Vec<_> = got.iter().filter(|(n, _)| n.contains("caller")).collect();
        assert_eq!(about, [&("anp-caller-did".to_owned(), did.clone())]);
        // The proof is passed on as it is.
        for (name, value) in &proof {
            assert_eq!(values(&got, name), [value]);
        }
        assert!(head.contains(&format!("authorization: Bearer {}", token_of(&head))));
        // No cache gives it to others.
        assert!(head.contains("cache-control: no-store"), "{head}");
    }
    // Where nobody is asked, nobody is named.
    let forged = field("ANP-Caller-DID", "did:wba:evil.example");
    let (_, got) = served(&running, &receiver, "/free", &forged).await;
    assert_eq!(values(&got, "anp-caller-did"), [""; 0]);
}

#[tokio::test]
async fn what_proves_nothing_looks_alike_and_spends_nothing() {
    let (alice, mallory) = (Tenant::new("alice"), Tenant::new("mallory"));
    let only = format!(r#"{{"dids": ["{}"]}}"#, alice.identity.did);
    let running = start(config(&[&alice, &mallory], &only)).await;
    let good = signed(&alice);
    let mut forged = good.clone();
    for (name, value) in &mut forged {
        if name == "signature" {
            let at = value.len() - 10;
            let other = if &value[at..=at] == "A" { "B" } else { "A" };
            value.replace_range(at..=at, other);
        }
    }
    assert_ne!(forged, good);
    let other = |method: &str, url: &str| alice.signed(AuthForm::Signature, method, url, None);
    let mut faces = Vec::new();
    for fields in [
        Vec::new(),
        forged,
        signed(&mallory),
        signed(&Tenant::new("stranger")),
        other("GET", "http://evil.example/agent/x?y=1"),
        other("GET", "http://gw.example/other/x?y=1"),
        other("POST", URL),
        other("GET", &URL.replace("http:", "https:")),
        other("GET", &URL.replace("http:", "ws:")),
        alice.signed(AuthForm::DidWba, "GET", "http://evil.example/", None),
        field("Authorization", "Bearer a.b.c"),
        field("Authorization", "Bearer anp_x"),
        field("Authorization", "Basic YTpi"),
        field("Authorization", "DIDWba nonsense"),
        [good.clone(), field("Authorization", "Bearer a.b.c")].concat(),
        [good.clone(), good.clone()].concat(),
    ] {
        let head = refused(&running, &fields).await;
        assert!(head.starts_with("HTTP/1.1 401"), "{fields:?} {head}");
        faces.push(head);
    }
    faces.dedup();
    assert_eq!(faces.len(), 1, "{faces:?}");
    assert!(
        faces[0].contains("www-authenticate: DIDWba realm=\"gw.example\""),
        "{faces:?}"
    );
    assert!(faces[0].contains("accept-signature: sig1="), "{faces:?}");
    assert!(faces[0].contains("application/problem+json"), "{faces:?}");
    // The genuine one is still good, once.
    let receiver = running.receiver().await;
    let _ = served(&running, &receiver, "/agent/x?y=1", &good).await;
    let head = refused(&running, &good).await;
    assert!(head.contains("error=\"invalid_nonce\""), "{head}");
    let nonce = nonce_of(&head);
    let again = alice.signed(AuthForm::Signature, "GET", URL, Some(&nonce));
    let _ = served(&running, &receiver, "/agent/x?y=1", &again).await;
}

#[tokio::test]
async fn of_a_thousand_copies_one_is_let_in() {
    let alice = Tenant::new("alice");
    let running = start(config(&[&alice], ALICE)).await;
    let receiver = running.receiver().await;
    let text = request("GET", "/agent/x?y=1", &signed(&alice));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let (text, address) = (text.clone(), running.public);
        callers.spawn(async move {
            let mut caller = support::Caller::connect(address).await;
            caller.send(&text).await;
            caller.head().await
        });
    }
    answer(&mut receiver.accept().await, 200, "app");
    let heads = callers.join_all().await;
    let let_in = heads.iter().filter(|head| head.starts_with("HTTP/1.1 200"));
    assert_eq!(let_in.count(), 1);
    // Beyond those that are looked at together.
    let others =
        |head: &&String| head.starts_with("HTTP/1.1 401") || head.starts_with("HTTP/1.1 503");
    assert_eq!(heads.iter().filter(others).count(), 999);
}

#[tokio::test]
async fn a_token_is_good_for_the_endpoint_that_gave_it_alone() {
    let alice = Tenant::new("alice");
    let mut config = config(&[&alice], ALICE);
    config.endpoints[2].owner = alice.owner();
    config.endpoints[2].receivers.clear();
    let changed = std::sync::Arc::new(std::sync::Mutex::new(config.clone()));
    let source = changed.clone();
    let bound = Gateway::bind(config).await.unwrap();
    let bound = bound.reads(move || Ok(source.lock().unwrap().clone()));
    let reloader = bound.reloader();
    let running = support::run(bound);
    let receiver = running.receiver().await;
    let (head, _) = served(&running, &receiver, "/agent/x?y=1", &signed(&alice)).await;
    let token = token_of(&head);
    let bearer = field("Authorization", &format!("Bearer {token}"));
    for _ in 0..3 {
        let (head, got) = served(&running, &receiver, "/agent/x?y=1", &bearer).await;
        assert_eq!(
            values(&got, "anp-caller-did"),
            [alice.identity.did.as_str()]
        );
        assert_eq!(values(&got, "authorization"), [format!("Bearer {token}")]);
        assert!(!head.contains("access_token"), "{head}");
    }
    // Not elsewhere: apps see the tokens of their callers.
    let mut caller = running.caller().await;
    caller.send(request("GET", "/other/x", &bearer)).await;
    assert!(caller.head().await.starts_with("HTTP/1.1 401"));
    assert!(knock(&running, &token).await.starts_with("HTTP/1.1 401"));
    let (head, _own) = tunnel_of(&running, &alice).await;
    let theirs = field("Authorization", &format!("Bearer {}", token_of(&head)));
    assert!(refused(&running, &theirs).await.starts_with("HTTP/1.1 401"));
    // Nor for who may no longer call.
    let nobody = r#"{"dids": ["domain:other.example"]}"#;
    changed.lock().unwrap().endpoints[0].callers = callers(nobody);
    reloader.reload().unwrap();
    let head = refused(&running, &bearer).await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    assert!(head.contains("error=\"forbidden_did\""), "{head}");
}

#[tokio::test]
async fn a_header_that_opened_a_tunnel_makes_no_call_and_the_other_way_round() {
    let alice = Tenant::new("alice");
    let mut config = config(&[&alice], ALICE);
    config.endpoints[2].owner = alice.owner();
    config.endpoints[2].receivers.clear();
    let running = start(config).await;
    let receiver = running.receiver().await;
    // This form covers the host alone.
    let proof = alice.signed(AuthForm::DidWba, "GET", URL, None);
    let _ = served(&running, &receiver, "/agent/x?y=1", &proof).await;
    let fields = [field("Host", "gw.example"), proof].concat();
    let v2 = [("Sec-WebSocket-Protocol", "anpx.v2")];
    let (head, _) = crate::identity::shake(&running, &fields, &v2).await;
    assert!(
        head.starts_with("HTTP/1.1 401") && head.contains("invalid_nonce"),
        "{head}"
    );
    let proof = alice.signed(AuthForm::DidWba, "GET", "ws://gw.example/anpx", None);
    let fields = [field("Host", "gw.example"), proof.clone()].concat();
    let (head, _) = crate::identity::shake(&running, &fields, &v2).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(refused(&running, &proof).await.contains("invalid_nonce"));
}

#[tokio::test]
async fn upgrades_are_asked_and_may_be_signed_as_what_they_are() {
    let alice = Tenant::new("alice");
    let running = start(config(&[&alice], ALICE)).await;
    let receiver = running.receiver().await;
    let upgrade = |fields: &[(String, String)]| {
        let mut all = fields.to_vec();
        for (name, value) in [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            all.extend(field(name, value));
        }
        request("GET", "/agent/x?y=1", &all)
    };
    let mut caller = running.caller().await;
    caller.send(upgrade(&[])).await;
    assert!(caller.head().await.starts_with("HTTP/1.1 401"));
    for scheme in ["http", "ws"] {
        let url = URL.replace("http", scheme);
        let mut caller = running.caller().await;
        caller
            .send(upgrade(&alice.signed(
                AuthForm::Signature,
                "GET",
                &url,
                None,
            )))
            .await;
        let mut incoming = receiver.accept().await;
        let did = incoming.head.headers.get("anp-caller-did");
        assert_eq!(did, Some(alice.identity.did.as_str().as_bytes()));
        assert_eq!(incoming.head.protocol.as_deref(), Some(&b"websocket"[..]));
        let answer = head(101, &[]);
        incoming
            .response
            .respond(&answer, "hi".into(), End::No)
            .unwrap();
        assert!(caller.head().await.starts_with("HTTP/1.1 101"));
        assert_eq!(caller.exactly(2).await, b"hi");
    }
}

#[tokio::test]
async fn callers_of_http2_are_asked_and_cannot_say_who_they_are_either() {
    let alice = Tenant::new("alice");
    let running = start(config(&[&alice], ALICE)).await;
    let receiver = running.receiver().await;
    let (send, connection) = soon(client::handshake(running.caller().await.socket))
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut send = soon(send.ready()).await.unwrap();
    let ask = |fields: &[(String, String)]| {
        let forged = Request::get(URL).header("anp-caller-did", "did:wba:evil.example");
        let fields = fields.iter();
        let request = fields.fold(forged, |r, (name, value)| r.header(name, value));
        request.body(()).unwrap()
    };
    let (response, _) = send.send_request(ask(&[]), true).unwrap();
    let refused = soon(response).await.unwrap();
    assert_eq!(refused.status(), 401);
    assert!(refused.headers().contains_key("www-authenticate"));

    // With a trailer that pretends, to an endpoint that asks and to one that does not.
    for (proof, path) in [(signed(&alice), "/agent/x?y=1"), (Vec::new(), "/free")] {
        // A body that comes later must be signed with its digest, so the trailer goes with none.
        let is_asked = !proof.is_empty();
        let mut request = ask(&proof);
        *request.uri_mut() = format!("http://gw.example{path}").parse().unwrap();
        let (response, mut stream) = send.send_request(request, is_asked).unwrap();
        if !is_asked {
            let mut trailers = HeaderMap::new();
            trailers.insert("anp_caller_did", "did:wba:evil.example".parse().unwrap());
            trailers.insert("x-t", "1".parse().unwrap());
            stream.send_trailers(trailers).unwrap();
        }
        let mut incoming = receiver.accept().await;
        let names = incoming
            .head
            .headers
            .iter()
            .filter(|(n, _)| n.starts_with(b"anp"));
        let expected = if is_asked {
            vec![alice.identity.did.as_str().as_bytes()]
        } else {
            vec![]
        };
        assert_eq!(names.map(|(_, v)| v).collect::<Vec<_>>(), expected);
        if !is_asked {
            let trailers = loop {
                match support::part(&mut incoming.body).await.unwrap().unwrap() {
                    anp_tunnel::Part::Trailers(trailers) => break trailers,
                    anp_tunnel::Part::Data(..) => {}
                }
            };
            assert_eq!(trailers.get("anp_caller_did"), None);
            assert_eq!(trailers.get("x-t"), Some(&b"1"[..]));
        }
        answer(&mut incoming, 200, "app");
        assert_eq!(soon(response).await.unwrap().status(), 200);
    }
}
