//! Documents and headers of the real Python SDKs (`tests/vectors/generate.py`) are accepted, and
//! nothing that was changed in them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of tests fail as tests do"
)]

use anp_auth::{
    Did, Document, DocumentError, NoKey, PublicKey,
    header::{Credentials, DidWba, MessageSignature},
};
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

struct Case {
    name: String,
    document: Value,
    headers: HeaderMap,
    host: String,
    url: String,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for file in [
        include_str!("vectors/agent-connect.json"),
        include_str!("vectors/anp.json"),
    ] {
        let vectors: Value = serde_json::from_str(file).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        for case in vectors["cases"].as_array().unwrap() {
            let mut headers = HeaderMap::new();
            for (name, field) in [
                ("authorization", "authorization"),
                ("signature-input", "signature_input"),
                ("signature", "signature"),
            ] {
                if let Some(value) = case[field].as_str() {
                    headers.insert(name, HeaderValue::from_str(value).unwrap());
                }
            }
            cases.push(Case {
                name: text(&case["name"]),
                document: case["document"].clone(),
                headers,
                host: text(&vectors["host"]),
                url: text(&vectors["url"]),
            });
        }
    }
    cases
}

fn did_of(document: &Value) -> Did {
    document["id"].as_str().unwrap().parse().unwrap()
}

fn parse(document: &Value) -> Result<Document, DocumentError> {
    Document::parse(&did_of(document), &serde_json::to_vec(document).unwrap())
}

fn verify_didwba(header: &DidWba, key: &PublicKey, host: &str) -> bool {
    header
        .audience_fields()
        .iter()
        .any(|field| key.verify(&header.signed_bytes(*field, host), &header.signature))
}

fn verify_message(signature: &MessageSignature, key: &PublicKey, case: &Case, url: &str) -> bool {
    let base = signature
        .base("GET", url, &case.host, &case.headers)
        .unwrap();
    key.verify(base.as_bytes(), &signature.signature)
}

#[test]
fn what_the_sdks_send_is_accepted_for_its_audience_only() {
    let mut kinds = std::collections::BTreeSet::new();
    for case in cases() {
        let document = parse(&case.document).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        match Credentials::read(&case.headers).unwrap() {
            Credentials::DidWba(header) => {
                assert_eq!(&header.did, document.did());
                let key = document.key(&header.fragment).unwrap();
                kinds.insert(format!("DIDWba {key:?}"));
                assert!(verify_didwba(&header, key, &case.host), "{}", case.name);
                assert!(
                    !verify_didwba(&header, key, "other.example"),
                    "{}",
                    case.name
                );
                for change in [
                    |h: &mut DidWba| h.nonce.push('0'),
                    |h: &mut DidWba| h.timestamp = "2026-01-01T00:00:00Z".into(),
                    |h: &mut DidWba| h.did = "did:wba:evil.example".parse().unwrap(),
                    |h: &mut DidWba| h.signature[20] ^= 1,
                    |h: &mut DidWba| h.signature[50] ^= 1,
                ] {
                    let mut changed = header.clone();
                    change(&mut changed);
                    assert!(!verify_didwba(&changed, key, &case.host), "{}", case.name);
                }
            }
            Credentials::Signature(signature) => {
                assert_eq!(&signature.did, document.did());
                let key = document.key(&signature.fragment).unwrap();
                kinds.insert(format!("RFC 9421 {key:?}"));
                assert!(
                    verify_message(&signature, key, &case, &case.url),
                    "{}",
                    case.name
                );
                assert!(!verify_message(
                    &signature,
                    key,
                    &case,
                    "wss://other.example/"
                ));
                let input = case.headers["signature-input"].to_str().unwrap();
                let value = case.headers["signature"].to_str().unwrap();
                for (from, to) in [("created=1", "created=2"), ("nonce=\"", "nonce=\"0")] {
                    let input = input.replace(from, to);
                    let changed = MessageSignature::parse(&input, value).unwrap();
                    assert!(
                        !verify_message(&changed, key, &case, &case.url),
                        "{}",
                        case.name
                    );
                }
            }
            Credentials::Bearer(_) => panic!("{} has no token", case.name),
        }
    }
    let expected = [
        "DIDWba Ed25519",
        "DIDWba secp256k1",
        "RFC 9421 Ed25519",
        "RFC 9421 P-256",
        "RFC 9421 secp256k1",
    ];
    assert!(kinds.iter().eq(expected), "{kinds:?}");
}

#[test]
fn signatures_and_keys_without_leading_zeros_are_covered() {
    let short = |case: &Case| match Credentials::read(&case.headers) {
        Ok(Credentials::DidWba(header)) => header.signature.len() < 64,
        _ => false,
    };
    let short_key = |case: &Case| {
        let jwk = &case.document["verificationMethod"][0]["publicKeyJwk"];
        ["x", "y"]
            .iter()
            .any(|c| jwk[*c].as_str().is_some_and(|text| text.len() < 43))
    };
    assert!(cases().iter().any(short));
    assert!(cases().iter().any(short_key));
}

/// Row 4 of the threats.
#[test]
fn a_key_bound_document_cannot_be_changed() {
    let mut bound = 0;
    for case in cases()
        .iter()
        .filter(|c| did_of(&c.document).binding().is_some())
    {
        bound += 1;
        let mut added = case.document.clone();
        let did = added["id"].as_str().unwrap().to_owned();
        let mut method = added["verificationMethod"][0].clone();
        method["id"] = json!(format!("{did}#mine"));
        added["verificationMethod"]
            .as_array_mut()
            .unwrap()
            .push(method);
        added["authentication"]
            .as_array_mut()
            .unwrap()
            .push(json!(format!("{did}#mine")));
        let mut unproven = case.document.clone();
        unproven.as_object_mut().unwrap().remove("proof");
        for document in [added, unproven] {
            assert_eq!(
                parse(&document).unwrap_err(),
                DocumentError::Unbound,
                "{}",
                case.name
            );
        }
        // Values that the SDK would decode in quadratic time or panic on.
        for value in ["_".repeat(85) + "w", "z".repeat(60_000), String::new()] {
            let mut hostile = case.document.clone();
            hostile["proof"]["proofValue"] = json!(value);
            assert_eq!(
                parse(&hostile).unwrap_err(),
                DocumentError::Unbound,
                "{}",
                case.name
            );
        }
        let mut hostile = case.document.clone();
        hostile["verificationMethod"][0]["publicKeyMultibase"] = json!("z".repeat(60_000));
        assert_eq!(
            parse(&hostile).unwrap_err(),
            DocumentError::Unbound,
            "{}",
            case.name
        );
    }
    assert!(bound > 0);
}

#[test]
fn only_keys_in_authentication_count() {
    let cases = cases();
    let case = cases.iter().find(|c| c.name == "P-256").unwrap();
    let document = parse(&case.document).unwrap();
    assert_eq!(document.fragments().collect::<Vec<_>>(), ["key-1", "key-2"]);
    assert_eq!(document.key("key-3").unwrap_err(), NoKey::NotListed);
    let mut removed = case.document.clone();
    removed["authentication"].as_array_mut().unwrap().pop();
    assert_eq!(
        parse(&removed).unwrap().key("key-2").unwrap_err(),
        NoKey::NotListed
    );

    let mut foreign = case.document.clone();
    foreign["verificationMethod"][0]["controller"] = json!("did:wba:evil.example");
    assert!(matches!(
        parse(&foreign).unwrap().key("key-1"),
        Err(NoKey::Unusable(_))
    ));
    let mut twice = case.document.clone();
    let method = twice["verificationMethod"][0].clone();
    twice["verificationMethod"]
        .as_array_mut()
        .unwrap()
        .push(method);
    assert_eq!(parse(&twice).unwrap_err(), DocumentError::Methods);
}

#[test]
fn documents_are_bounded() {
    let did: Did = "did:wba:a.example".parse().unwrap();
    let parse = |bytes: &[u8]| Document::parse(&did, bytes).unwrap_err();
    assert_eq!(parse(&vec![b' '; 64 * 1024 + 1]), DocumentError::TooLarge);
    assert_eq!(parse("[".repeat(60_000).as_bytes()), DocumentError::Json);
    assert_eq!(
        parse("{\"a\":".repeat(10_000).as_bytes()),
        DocumentError::Json
    );
    assert_eq!(parse(b"[]"), DocumentError::Json);
    assert_eq!(parse(b"\xff"), DocumentError::Json);
    assert_eq!(
        parse(br#"{"id":"did:wba:b.example"}"#),
        DocumentError::OtherDid
    );
    let many = json!({"id": did.as_str(), "authentication": vec!["#a"; 65]});
    assert_eq!(parse(many.to_string().as_bytes()), DocumentError::Methods);
    let dangling = json!({"id": did.as_str(), "authentication": ["#a"]});
    assert_eq!(
        parse(dangling.to_string().as_bytes()),
        DocumentError::Methods
    );
}
