use serde_json::{Value, json};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn tokens() -> Tokens {
    Tokens::ephemeral("gw.example", "gw.example", HOUR).unwrap()
}

fn did() -> Did {
    "did:wba:a.example:bob".parse().unwrap()
}

/// A token with other claims or another header, signed with the key of `tokens`.
fn forge(tokens: &Tokens, header: &Header, claims: &Value) -> String {
    encode(
        header,
        claims,
        &tokens.keys.read().unwrap().current.encoding,
    )
    .unwrap()
}

fn header(tokens: &Tokens) -> Header {
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(tokens.keys.read().unwrap().current.id.clone());
    header
}

fn claims() -> Value {
    json!({"iss": "gw.example", "aud": "gw.example", "sub": did().as_str(), "iat": 1000, "exp": 4600, "jti": "x"})
}

fn invalid(result: Result<Claim, TokenError>) -> bool {
    matches!(result, Err(TokenError::Invalid(_)))
}

#[test]
fn a_token_is_good_for_its_time() {
    let tokens = tokens();
    let issued = tokens.issue(&did(), None, 1000).unwrap();
    assert_eq!(issued.expires_in, 3600);
    let good = Claim {
        did: did(),
        expires_at: 4600,
        key: None,
    };
    for now in [940, 1000, 4599] {
        assert_eq!(tokens.verify(&issued.token, now), Ok(good.clone()));
    }
    assert_eq!(tokens.verify(&issued.token, 939), Err(TokenError::Early));
    assert_eq!(tokens.verify(&issued.token, 4600), Err(TokenError::Expired));
    assert_ne!(tokens.issue(&did(), None, 1000), Some(issued));
}

#[test]
fn tokens_of_others_and_for_others_are_refused() {
    let ours = tokens();
    let others = tokens();
    let token = others.issue(&did(), None, 1000).unwrap().token;
    assert_eq!(ours.verify(&token, 1000), Err(TokenError::UnknownKey));
    // The same key under another name would still have to sign.
    let mut lying = header(&ours);
    lying.alg = Algorithm::EdDSA;
    assert!(invalid(
        ours.verify(&forge(&others, &lying, &claims()), 1000)
    ));

    assert!(
        ours.verify(&forge(&ours, &header(&ours), &claims()), 1000)
            .is_ok()
    );
    for (name, value) in [
        ("aud", json!("other.example")),
        ("aud", json!(["other.example"])),
        ("iss", json!("other.example")),
        ("exp", Value::Null),
        ("exp", json!("4600")),
        ("aud", Value::Null),
        ("iss", Value::Null),
        ("sub", Value::Null),
    ] {
        let mut claims = claims();
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value,
        }
        let token = forge(&ours, &header(&ours), &claims);
        assert!(invalid(ours.verify(&token, 1000)), "{claims}");
    }
    let mut claims = claims();
    claims["sub"] = json!("did:wba:127.0.0.1");
    let token = forge(&ours, &header(&ours), &claims);
    assert!(matches!(
        ours.verify(&token, 1000),
        Err(TokenError::Subject(_))
    ));
}

#[test]
fn other_algorithms_are_refused() {
    let ours = tokens();
    let part = |value: &Value| BASE64URL.encode(value.to_string());
    let kid = header(&ours).kid;
    let unsigned = |alg: &str| {
        let header = part(&json!({"alg": alg, "typ": "JWT", "kid": kid}));
        format!("{header}.{}", part(&claims()))
    };
    for alg in ["none", "None", "NONE", "", "EdDSA"] {
        for token in [format!("{}.", unsigned(alg)), unsigned(alg)] {
            assert!(invalid(ours.verify(&token, 1000)), "{token}");
        }
    }
    // HS256 with the public key as the secret, in the notations a library may take.
    let public = match &ours.keys.read().unwrap().current.decoding.kind() {
        jsonwebtoken::DecodingKeyKind::SecretOrDer(der) => der.clone(),
        _ => panic!("an Ed25519 key is bytes"),
    };
    for secret in [public.clone(), BASE64URL.encode(&public).into_bytes()] {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = kid.clone();
        let token = encode(&header, &claims(), &EncodingKey::from_secret(&secret)).unwrap();
        assert!(invalid(ours.verify(&token, 1000)));
    }
    for text in ["", ".", "..", "a.b.c", "....", "\u{e4}.b.c"] {
        assert!(ours.verify(text, 1000).is_err());
    }
}

#[test]
fn what_is_said_of_a_token_has_no_text_of_whoever_made_it() {
    let ours = tokens();
    let part = |value: &Value| BASE64URL.encode(value.to_string());
    let text = "x\nFORGED\r\u{1b}[31m\u{2028}\u{9b}";
    for head in [
        json!({"alg": text}),
        json!({"alg": "EdDSA", "kid": text}),
        json!({"alg": "EdDSA", "typ": {text: 1}}),
    ] {
        let token = format!("{}.{}.AA", part(&head), part(&claims()));
        let said = ours.verify(&token, 1000).unwrap_err().to_string();
        assert!(!said.contains("FORGED"), "{said:?}");
        assert!(!said.chars().any(char::is_control), "{said:?}");
    }
}

#[test]
fn keys_are_made_kept_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens.pem");
    let open = || Tokens::open(&file, "gw.example", "gw.example", HOUR).unwrap();
    let first = open();
    let token = first.issue(&did(), None, 1000).unwrap().token;
    let again = open();
    assert!(again.verify(&token, 1000).is_ok());
    assert!(!again.refresh(1000).unwrap());

    fs::remove_file(&file).unwrap();
    let mut pem = new_pem().unwrap();
    // Another length: a test must not hang on the clock of the file system.
    pem.push('\n');
    write_secret(&file, &pem).unwrap();
    assert!(again.refresh(2000).unwrap());
    let newer = again.issue(&did(), None, 2000).unwrap().token;
    assert!(again.verify(&newer, 2000).is_ok());
    assert!(again.verify(&token, 2000).is_ok());
    assert_eq!(first.verify(&newer, 2000), Err(TokenError::UnknownKey));
    // Even a token that named a later end would end with its key.
    let mut long = claims();
    long["exp"] = json!(1_000_000);
    let long = forge(&first, &header(&first), &long);
    assert!(again.verify(&long, 5599).is_ok());
    assert_eq!(again.verify(&long, 5600), Err(TokenError::UnknownKey));

    fs::write(&file, "no key").unwrap();
    assert!(matches!(again.refresh(2000), Err(TokenKeyError::Key(_))));
    assert!(again.verify(&newer, 2000).is_ok());
}
