//! New identities, made as the SDK makes them.

use anp::{
    PrivateKeyMaterial,
    authentication::{DidDocumentOptions, DidProfile, create_did_wba_document},
};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::Engine;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;

use crate::{
    did::{Did, DidError},
    encoding::BASE64URL,
};

/// What kind of key a new identity has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// Ed25519; named in the DID (`e1_`) if that has a path, so that nobody can change the document.
    #[default]
    Ed25519,
    /// secp256k1; named in the DID (`k1_`) if that has a path.
    Secp256k1,
    /// P-256, which no DID can name.
    P256,
}

/// What a new identity is to be.
#[derive(Debug, Clone)]
pub struct NewIdentity {
    /// The host that will serve the document.
    pub host: String,
    /// Its port, where it is not 443.
    pub port: Option<u16>,
    /// The path segments; the one that names the key is added.
    pub path: Vec<String>,
    /// Its key.
    pub kind: KeyKind,
}

/// A new identity. The private key is nowhere else.
pub struct Identity {
    /// Who.
    pub did: Did,
    /// What has to be served at [`Did::document_url`].
    pub document: Value,
    /// The private key, in PEM (PKCS #8).
    pub private_key_pem: String,
}

/// Why there is no new identity.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CreateError {
    /// The host, port or path cannot be those of a DID.
    #[error(transparent)]
    Did(#[from] DidError),
    /// The key or the document could not be made.
    #[error("the identity could not be made: {0}")]
    Failed(String),
}

/// Makes a key, and a document that says so.
///
/// # Errors
///
/// [`CreateError`].
pub fn create(new: &NewIdentity) -> Result<Identity, CreateError> {
    let mut plain = format!("did:wba:{}", new.host);
    if let Some(port) = new.port {
        plain.push_str(&format!("%3A{port}"));
    }
    for segment in &new.path {
        plain.push(':');
        plain.push_str(segment);
    }
    // Checked before anything is made: the SDK takes hosts and segments that nobody resolves.
    let plain: Did = plain.parse()?;
    let profile = match new.kind {
        KeyKind::Ed25519 => DidProfile::E1,
        KeyKind::Secp256k1 => DidProfile::K1,
        KeyKind::P256 => return create_p256(plain),
    };
    let options = DidDocumentOptions {
        port: new.port,
        path_segments: new.path.clone(),
        enable_e2ee: false,
        did_profile: profile,
        ..DidDocumentOptions::default()
    };
    let failed = |reason: &str| CreateError::Failed(reason.to_owned());
    let bundle = create_did_wba_document(&new.host, options)
        .map_err(|error| CreateError::Failed(error.to_string()))?;
    let did = bundle
        .did()
        .ok_or_else(|| failed("it has no id"))?
        .parse()?;
    let key = bundle.private_key_pem("key-1");
    let private_key_pem = key.ok_or_else(|| failed("it has no key"))?.to_owned();
    Ok(Identity {
        did,
        document: bundle.did_document,
        private_key_pem,
    })
}

fn create_p256(did: Did) -> Result<Identity, CreateError> {
    let failed = |reason: &str| CreateError::Failed(reason.to_owned());
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let der = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new())
        .map_err(|_| failed("no key could be made"))?;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, der.as_ref())
        .map_err(|_| failed("no key could be made"))?;
    let pem = PrivateKeyMaterial::from_pkcs8_der(der.as_ref())
        .map_err(|error| CreateError::Failed(error.to_string()))?
        .to_pem();
    // Uncompressed (SEC 1 section 2.3.3): 4, x and y.
    let Some([4, point @ ..]) = pair.public_key().as_ref().first_chunk::<65>() else {
        return Err(failed("the key has no point"));
    };
    let (x, y) = point.split_at(32);
    let method = format!("{did}#key-1");
    let document = json!({
        "@context": [
            "https://www.w3.org/ns/did/v1",
            "https://w3id.org/security/suites/jws-2020/v1",
        ],
        "id": did.as_str(),
        "verificationMethod": [{
            "id": method,
            "type": "EcdsaSecp256r1VerificationKey2019",
            "controller": did.as_str(),
            "publicKeyJwk": {
                "kty": "EC",
                "crv": "P-256",
                "x": BASE64URL.encode(x),
                "y": BASE64URL.encode(y),
            },
        }],
        "authentication": [method],
    });
    Ok(Identity {
        did,
        document,
        private_key_pem: pem,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{did::KeyBinding, document::Document};

    fn new(path: &[&str], kind: KeyKind) -> Result<Identity, CreateError> {
        create(&NewIdentity {
            host: "did.example".into(),
            port: Some(8443),
            path: path.iter().map(|&segment| segment.into()).collect(),
            kind,
        })
    }

    #[test]
    fn what_is_made_is_a_document_of_its_did() {
        for (path, kind, binding) in [
            (
                &["user", "alice"][..],
                KeyKind::Ed25519,
                Some(KeyBinding::E1),
            ),
            (&["alice"], KeyKind::Secp256k1, Some(KeyBinding::K1)),
            (&["alice"], KeyKind::P256, None),
            (&[], KeyKind::Ed25519, None),
            (&[], KeyKind::P256, None),
        ] {
            let identity = new(path, kind).unwrap();
            assert_eq!(identity.did.binding(), binding);
            assert!(identity.did.owner_segments().eq(path.iter().copied()));
            let bytes = identity.document.to_string();
            let document = Document::parse(&identity.did, bytes.as_bytes()).unwrap();
            assert!(document.key("key-1").is_ok());
            assert!(!bytes.contains("PRIVATE"));
        }
    }

    #[test]
    fn what_nobody_could_resolve_is_not_made() {
        for segment in ["a/b", "..", "", "a b", "a%2Fb"] {
            let made = new(&[segment], KeyKind::Ed25519);
            assert_eq!(
                made.err(),
                Some(CreateError::Did(DidError::Segment)),
                "{segment}"
            );
        }
        let made = create(&NewIdentity {
            host: "127.0.0.1".into(),
            port: None,
            path: Vec::new(),
            kind: KeyKind::Ed25519,
        });
        assert_eq!(made.err(), Some(CreateError::Did(DidError::Address)));
    }
}
