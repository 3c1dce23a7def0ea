//! Who is believed and who is not (rows 4, 8, 9, 10 and 11 of the threats).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of tests fail as tests do"
)]

mod support;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anp_auth::{
    AuthForm, Did, Document, Identity, KeyKind, NewIdentity, Policy, PresharedTokens, Proof,
    Proven, Refusal, Signer, Subject, Tokens, Unproven, Verifier, VerifierParts, create, new_token,
    replay::{FileReplay, MemoryReplay, ReplayStore, SpendError},
};
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use support::{Known, NOW, bearer, names, request, sign, sign_for, signer};

const FORMS: [AuthForm; 3] = [AuthForm::Signature, AuthForm::DidWba, AuthForm::DidWba11];
const KINDS: [KeyKind; 3] = [KeyKind::Ed25519, KeyKind::Secp256k1, KeyKind::P256];

/// A verifier and everything it works with.
struct Gate {
    verifier: Arc<Verifier>,
    policy: Policy,
    known: Arc<Known>,
    tokens: Arc<Tokens>,
    preshared: PresharedTokens,
}

impl Gate {
    fn new(documents: &[&Value]) -> Self {
        Self::with(documents, Arc::new(MemoryReplay::new(NOW - 1000)))
    }

    fn with(documents: &[&Value], replay: Arc<dyn ReplayStore>) -> Self {
        let mut known = Known::default();
        for document in documents {
            let did: Did = document["id"].as_str().unwrap().parse().unwrap();
            known.add(Document::parse(&did, document.to_string().as_bytes()).unwrap());
        }
        let known = Arc::new(known);
        let policy = Policy::new(vec!["domain:did.example".parse().unwrap()]);
        let hour = Duration::from_secs(3600);
        let tokens = Arc::new(Tokens::ephemeral("gw.example", "gw.example", hour).unwrap());
        let preshared = PresharedTokens::default();
        let parts = VerifierParts {
            names: names(),
            policy: policy.clone(),
            resolver: known.clone(),
            replay,
            tokens: tokens.clone(),
            preshared: preshared.clone(),
        };
        Self {
            verifier: Arc::new(Verifier::new(parts).unwrap()),
            policy,
            known,
            tokens,
            preshared,
        }
    }

    /// Without the key that was it, which most tests do not look at.
    async fn verify(&self, headers: &HeaderMap) -> Result<Proven, Refusal> {
        let proven = self.verify_whole(headers).await?;
        assert_eq!(proven.key.is_some(), proven.by == Proof::Signature);
        Ok(Proven {
            key: None,
            ..proven
        })
    }

    async fn verify_whole(&self, headers: &HeaderMap) -> Result<Proven, Refusal> {
        self.verifier.verify(request(headers), NOW).await
    }

    async fn unproven(&self, headers: &HeaderMap) -> Unproven {
        match self.verify(headers).await {
            Err(Refusal::Unproven(reason)) => reason,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    fn asked(&self) -> usize {
        self.known.asked.load(Ordering::SeqCst)
    }
}

fn identity(name: &str, kind: KeyKind) -> Identity {
    create(&NewIdentity {
        host: "did.example".into(),
        port: None,
        path: vec![name.into()],
        kind,
    })
    .unwrap()
}

/// One identity, and who takes it.
fn alice() -> (Identity, Signer, Gate) {
    let alice = identity("alice", KeyKind::Ed25519);
    let gate = Gate::new(&[&alice.document]);
    let signer = signer(&alice);
    (alice, signer, gate)
}

fn proven(did: &Did) -> Proven {
    Proven {
        subject: Subject::Did(did.clone()),
        by: Proof::Signature,
        key: None,
    }
}

#[tokio::test]
async fn every_form_by_every_key_is_believed() {
    for kind in KINDS {
        let alice = identity("alice", kind);
        let gate = Gate::new(&[&alice.document]);
        for form in FORMS {
            let headers = sign(&signer(&alice), form, NOW);
            assert_eq!(
                gate.verify(&headers).await,
                Ok(proven(&alice.did)),
                "{kind:?} {form:?}"
            );
        }
    }
}

/// Row 4 of the threats.
#[tokio::test]
async fn a_damaged_header_is_refused_and_the_genuine_one_still_good() {
    for kind in KINDS {
        let alice = identity("alice", kind);
        let mallory = identity("mallory", kind);
        let gate = Gate::new(&[&alice.document, &mallory.document]);
        for form in FORMS {
            let genuine = sign(&signer(&alice), form, NOW);
            let changes: &[(&str, &str, &str)] = match form {
                AuthForm::Signature => &[
                    ("signature", "sig1=:", "sig1=:AAAA"),
                    ("signature-input", "nonce=\"", "nonce=\"0"),
                    ("signature-input", "expires=18", "expires=19"),
                    ("signature-input", r#" "@authority""#, ""),
                    ("signature-input", r#" "@target-uri""#, ""),
                    ("signature-input", r#""@method" "#, ""),
                    ("signature-input", "#key-1", "#key-2"),
                ],
                _ => &[
                    ("authorization", r#"nonce=""#, r#"nonce="0"#),
                    (
                        "authorization",
                        r#"verification_method="key-1""#,
                        r#"verification_method="key-2""#,
                    ),
                    ("authorization", r#"signature=""#, r#"signature="AAAA"#),
                ],
            };
            for (name, from, to) in changes {
                let mut damaged = genuine.clone();
                let value = damaged[*name].to_str().unwrap().replace(from, to);
                assert_ne!(value, genuine[*name].to_str().unwrap());
                damaged.insert(*name, HeaderValue::try_from(value).unwrap());
                gate.unproven(&damaged).await;
            }
            // Every byte of the signature counts; its last character has unused bits in base64.
            let (name, last) = match form {
                AuthForm::Signature => ("signature", "==:"),
                _ => ("authorization", "\""),
            };
            let text = genuine[name].to_str().unwrap().strip_suffix(last).unwrap();
            let (start, _) = text.split_at(text.len() - 3);
            for letter in ["A", "B"] {
                let mut damaged = genuine.clone();
                let value = format!("{start}{letter}{letter}w{last}");
                // One of some thousand signatures ends so.
                if value == genuine[name].to_str().unwrap() {
                    continue;
                }
                damaged.insert(name, HeaderValue::try_from(value).unwrap());
                let refused = gate.verify(&damaged).await;
                assert!(matches!(refused, Err(Refusal::Unproven(_))), "{refused:?}");
            }
            // Another's key for this DID.
            let mut stolen = genuine.clone();
            let others = sign(&signer(&mallory), form, NOW);
            for (name, value) in &others {
                let value = value.to_str().unwrap();
                let value = value.replace(mallory.did.as_str(), alice.did.as_str());
                stolen.insert(name, HeaderValue::try_from(value).unwrap());
            }
            let refused = gate.unproven(&stolen).await;
            assert_eq!(refused, Unproven::Signature(alice.did.clone()));

            assert_eq!(gate.verify(&genuine).await, Ok(proven(&alice.did)));
        }
    }
}

/// Row 4 of the threats.
#[tokio::test]
async fn a_key_that_is_not_for_authentication_is_refused() {
    let alice = identity("alice", KeyKind::P256);
    let mut document = alice.document.clone();
    let headers = sign(&signer(&alice), AuthForm::Signature, NOW);
    document["authentication"] = json!([]);
    let gate = Gate::new(&[&document]);
    assert!(matches!(gate.unproven(&headers).await, Unproven::Key(_)));
}

/// Row 8 of the threats.
#[tokio::test]
async fn of_a_thousand_uses_at_once_one_succeeds_and_none_after_a_restart() {
    let alice = identity("alice", KeyKind::Ed25519);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("nonces.redb");
    let open = || Arc::new(FileReplay::open(&file, NOW - 10).unwrap());
    for form in FORMS {
        let headers = sign(&signer(&alice), form, NOW);
        let gate = Gate::with(&[&alice.document], open());
        let mut uses = tokio::task::JoinSet::new();
        for _ in 0..1000 {
            let (verifier, headers) = (gate.verifier.clone(), headers.clone());
            uses.spawn(async move { verifier.verify(request(&headers), NOW).await });
        }
        let mut successes = 0;
        for result in uses.join_all().await {
            match result {
                Ok(_) => successes += 1,
                Err(refusal) => assert!(matches!(refusal, Refusal::Challenge { .. })),
            }
        }
        assert_eq!(successes, 1);
        drop(gate);
        let gate = Gate::with(&[&alice.document], open());
        let refused = gate.verify(&headers).await;
        assert!(
            matches!(refused, Err(Refusal::Challenge { .. })),
            "{refused:?}"
        );
    }
}

/// Row 8 of the threats: a verification that began in the last second of a header, and takes longer.
#[tokio::test]
async fn a_nonce_is_remembered_while_its_header_may_still_be_looked_at() {
    let (alice, bob) = (
        identity("alice", KeyKind::Ed25519),
        identity("bob", KeyKind::Ed25519),
    );
    let gate = Gate::new(&[&alice.document, &bob.document]);
    let headers = sign(&signer(&alice), AuthForm::DidWba, NOW);
    let last = NOW + 300;
    let verify = async |headers: &HeaderMap, now| gate.verifier.verify(request(headers), now).await;
    assert!(verify(&headers, last).await.is_ok());
    let later = sign(&signer(&bob), AuthForm::DidWba, last + 15);
    assert!(verify(&later, last + 15).await.is_ok());
    let again = verify(&headers, last).await;
    assert!(matches!(again, Err(Refusal::Challenge { .. })), "{again:?}");
}

#[tokio::test]
async fn a_store_that_knows_less_makes_everybody_sign_once_more() {
    let alice = identity("alice", KeyKind::Ed25519);
    let signer = signer(&alice);
    let gate = Gate::with(&[&alice.document], Arc::new(MemoryReplay::new(NOW)));
    for form in FORMS {
        let before = sign(&signer, form, NOW - 1);
        let Err(Refusal::Challenge { nonce, .. }) = gate.verify(&before).await else {
            panic!("a challenge was due");
        };
        let target = anp_auth::Target {
            method: "GET",
            url: "wss://gw.example/anpx",
            authority: "gw.example",
            host: "gw.example",
        };
        // A clock that is behind is no hindrance: the nonce is young.
        let again = signer
            .headers(form, &target, Some(&nonce), NOW - 1)
            .unwrap();
        let again: HeaderMap = again.into_iter().collect();
        assert_eq!(gate.verify(&again).await, Ok(proven(&alice.did)));
        assert!(matches!(
            gate.verify(&again).await,
            Err(Refusal::Challenge { .. })
        ));
    }
}

/// Row 9 of the threats.
#[tokio::test]
async fn a_signature_is_for_this_service_only() {
    let (_, signer, gate) = alice();
    for form in FORMS {
        for authority in ["evil.example", "gw.example:8443", "gw.example.evil.example"] {
            if authority == "gw.example:8443" && form != AuthForm::Signature {
                // DIDWba signs the host alone.
                continue;
            }
            let headers = sign_for(&signer, form, authority, NOW);
            // As if sent to us, and as if `Host` were believed.
            for host in ["gw.example", authority] {
                let mut spoofed = request(&headers);
                spoofed.host = host;
                let refused = gate.verifier.verify(spoofed, NOW).await;
                assert!(matches!(refused, Err(Refusal::Unproven(_))), "{refused:?}");
            }
        }
        // Genuine, with a Host that is none of our names.
        let headers = sign(&signer, form, NOW);
        for host in [
            "evil.example",
            "",
            "gw.example:1",
            "gw.example/",
            "gw.example@evil.example",
        ] {
            let mut spoofed = request(&headers);
            spoofed.host = host;
            let refused = gate.verifier.verify(spoofed, NOW).await;
            assert_eq!(refused, Err(Refusal::Unproven(Unproven::Audience)));
        }
        let mut other = request(&headers);
        other.target = "/other";
        let elsewhere = gate.verifier.verify(other, NOW).await;
        assert_eq!(elsewhere.is_ok(), form != AuthForm::Signature);
    }
}

#[tokio::test]
async fn a_url_is_believed_in_each_way_clients_write_it() {
    let (alice, signer, gate) = alice();
    for (url, target) in [
        ("wss://gw.example/anpx?receiver=a", "/anpx?receiver=a"),
        ("ws://gw.example/anpx", "/anpx"),
        ("ws://gw.example", "/"),
        ("wss://gw.example?receiver=a", "/?receiver=a"),
        ("wss://gw.example/", "/"),
    ] {
        let signed = anp_auth::Target {
            method: "GET",
            url,
            authority: "gw.example",
            host: "gw.example",
        };
        let headers = signer
            .headers(AuthForm::Signature, &signed, None, NOW)
            .unwrap();
        let headers: HeaderMap = headers.into_iter().collect();
        let mut request = request(&headers);
        request.target = target;
        let found = gate.verifier.verify(request, NOW).await.unwrap();
        assert_eq!(found.subject, Subject::Did(alice.did.clone()), "{url}");
    }
}

/// Row 9 of the threats.
#[tokio::test]
async fn the_clock_may_be_wrong_by_so_much() {
    let (alice, signer, gate) = alice();
    for form in FORMS {
        for made_at in [NOW - 300, NOW, NOW + 60] {
            assert_eq!(
                gate.verify(&sign(&signer, form, made_at)).await,
                Ok(proven(&alice.did))
            );
        }
        let before = gate.asked();
        for (made_at, reason) in [
            (NOW - 301, Unproven::Old(301)),
            (NOW + 61, Unproven::Ahead(61)),
            (0, Unproven::Old(NOW)),
        ] {
            assert_eq!(gate.unproven(&sign(&signer, form, made_at)).await, reason);
        }
        assert_eq!(gate.asked(), before);
    }
    let input = |text: &str| {
        let mut headers = sign(&signer, AuthForm::Signature, NOW);
        let value = headers["signature-input"].to_str().unwrap();
        let value = value.replace(&format!("created={NOW};expires={}", NOW + 300), text);
        headers.insert("signature-input", HeaderValue::try_from(value).unwrap());
        headers
    };
    for created in [
        "999999999999999",
        "-999999999999999",
        "9223372036854775807",
        "-9223372036854775808",
        "0",
        "-0",
    ] {
        gate.unproven(&input(&format!("created={created};expires={created}")))
            .await;
        gate.unproven(&input(&format!("created={NOW};expires={created}")))
            .await;
    }
    for (expires, reason) in [(NOW - 1, Unproven::Expired), (0, Unproven::Expired)] {
        let headers = input(&format!("created={NOW};expires={expires}"));
        assert_eq!(gate.unproven(&headers).await, reason);
    }
}

/// Row 11 of the threats.
#[tokio::test]
async fn twenty_thousand_forgeries_fetch_nothing_and_look_alike() {
    let (_, alice_signer, gate) = alice();
    let stranger = create(&NewIdentity {
        host: "stranger.example".into(),
        port: None,
        path: vec!["mallory".into()],
        kind: KeyKind::Ed25519,
    })
    .unwrap();
    let stranger = signer(&stranger);
    let mut faces = std::collections::HashSet::new();
    let mut face = |refusal: &Refusal| {
        faces.insert((
            refusal.status(),
            refusal.public_text(),
            refusal.www_authenticate("gw.example"),
            refusal.accept_signature(true),
        ));
    };
    let [didwba, old] = [
        sign(&stranger, AuthForm::DidWba, NOW),
        sign(&alice_signer, AuthForm::Signature, NOW - 1000),
    ];
    for number in 0..20_000 {
        let headers = match number % 5 {
            0 => didwba.clone(),
            1 => old.clone(),
            2 => bearer(&format!("anp_{number}")),
            3 => bearer(&format!("a.{number}.c")),
            _ => HeaderMap::new(),
        };
        face(&gate.verify(&headers).await.unwrap_err());
    }
    assert_eq!(gate.asked(), 0);
    // What is fetched and turns out wrong looks the same.
    let unknown = signer(&identity("nobody", KeyKind::Ed25519));
    face(
        &gate
            .verify(&sign(&unknown, AuthForm::Signature, NOW))
            .await
            .unwrap_err(),
    );
    let other = sign_for(&alice_signer, AuthForm::DidWba, "evil.example", NOW);
    face(&gate.verify(&other).await.unwrap_err());
    assert_eq!(gate.asked(), 2);
    assert_eq!(faces.len(), 1, "{faces:?}");
}

/// Row 10 of the threats.
#[tokio::test]
async fn a_token_is_good_until_it_ends_or_its_did_is_removed() {
    let (alice, signer, gate) = alice();
    let signed = gate
        .verify_whole(&sign(&signer, AuthForm::Signature, NOW))
        .await
        .unwrap();
    let issued = gate.verifier.token_for(&signed, NOW).unwrap();
    let headers = bearer(&issued.token);
    let by_token = gate.verify_whole(&headers).await.unwrap();
    let expires_at = NOW + 3600;
    assert_eq!(
        by_token,
        Proven {
            subject: Subject::Did(alice.did.clone()),
            by: Proof::Token { expires_at },
            key: signed.key.clone(),
        }
    );
    assert_eq!(gate.verifier.token_for(&by_token, NOW), None);
    assert!(gate.verifier.permits(&by_token, expires_at - 1));
    assert!(!gate.verifier.permits(&by_token, expires_at));
    let late = gate.verifier.verify(request(&headers), expires_at).await;
    assert!(matches!(late, Err(Refusal::Unproven(Unproven::Token(_)))));

    assert!(gate.verifier.permits(&signed, NOW + 100_000));
    gate.policy.replace(Vec::new());
    assert!(!gate.verifier.permits(&signed, NOW));
    assert!(!gate.verifier.permits(&by_token, NOW));
    let refused = gate.verify(&headers).await;
    let refusal = Refusal::NotPermitted(Subject::Did(alice.did.clone()));
    assert_eq!(refused, Err(refusal));
    // A token of somebody else's gateway with the same name.
    let hour = Duration::from_secs(3600);
    let other = Tokens::ephemeral("gw.example", "gw.example", hour).unwrap();
    let token = other.issue(&alice.did, None, NOW).unwrap().token;
    assert!(matches!(
        gate.unproven(&bearer(&token)).await,
        Unproven::Token(_)
    ));
    assert!(gate.tokens.verify(&token, NOW).is_err());
}

#[tokio::test]
async fn a_preshared_token_is_good_until_it_is_removed() {
    let (.., gate) = alice();
    let (token, hash) = new_token().unwrap();
    let headers = bearer(&token);
    assert_eq!(gate.unproven(&headers).await, Unproven::UnknownToken);
    gate.preshared.replace([("lab".to_owned(), hash)]).unwrap();
    let proven = gate.verify(&headers).await.unwrap();
    assert_eq!(proven.subject.to_string(), "token:lab");
    assert_eq!(gate.verifier.token_for(&proven, NOW), None);
    assert!(gate.verifier.permits(&proven, NOW + 1_000_000));
    gate.preshared.replace([]).unwrap();
    assert!(!gate.verifier.permits(&proven, NOW));
}

/// Takes a DID off the list while its document is fetched, or its nonce is written.
struct Removing(Policy, Result<(), SpendError>);

impl ReplayStore for Removing {
    fn spend<'a>(
        &'a self,
        _: &anp_auth::replay::Once,
    ) -> anp_auth::resolver::BoxFuture<'a, Result<(), SpendError>> {
        self.0.replace(Vec::new());
        Box::pin(std::future::ready(self.1.clone()))
    }

    fn complete_since(&self) -> anp_auth::resolver::BoxFuture<'_, Result<i64, SpendError>> {
        Box::pin(std::future::ready(Ok(0)))
    }
}

#[tokio::test]
async fn a_did_removed_meanwhile_and_a_store_that_is_full_are_told_apart() {
    let alice = identity("alice", KeyKind::Ed25519);
    let headers = sign(&signer(&alice), AuthForm::Signature, NOW);
    for (result, status) in [
        (Ok(()), 403),
        (Err(SpendError::FullForDid), 503),
        (Err(SpendError::Used), 401),
    ] {
        let policy = Policy::new(vec!["domain:did.example".parse().unwrap()]);
        let mut known = Known::default();
        known.add(Document::parse(&alice.did, alice.document.to_string().as_bytes()).unwrap());
        let parts = VerifierParts {
            names: names(),
            policy: policy.clone(),
            resolver: Arc::new(known),
            replay: Arc::new(Removing(policy, result)),
            tokens: Arc::new(Tokens::ephemeral("x", "x", Duration::from_secs(1)).unwrap()),
            preshared: PresharedTokens::default(),
        };
        let verifier = Verifier::new(parts).unwrap();
        let refusal = verifier.verify(request(&headers), NOW).await.unwrap_err();
        assert_eq!(refusal.status(), status);
        let told = refusal.www_authenticate("gw.example");
        assert_eq!(told.is_some(), status != 503);
        assert_eq!(
            told.is_some_and(|told| told.to_str().unwrap().contains("nonce=")),
            status == 401
        );
    }
}
