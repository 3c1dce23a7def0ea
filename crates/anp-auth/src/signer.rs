//! The other side: headers that prove who we are.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use anp::PrivateKeyMaterial;
use aws_lc_rs::rand::fill;
use base64::Engine;
use http::{HeaderName, HeaderValue, header::AUTHORIZATION};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    did::{Did, DidError},
    document::{Document, DocumentError, MAX_DOCUMENT_LEN},
    encoding::{BASE64, BASE64URL},
    header::{
        AudienceField, CONTENT_DIGEST, SIGNATURE, SIGNATURE_INPUT, content_digest, didwba_bytes,
    },
    keyfile::{KeyFileError, read_secret},
    target::Target,
    time::format_timestamp,
};

/// How long a signature says that it is good, in seconds, as anp does.
const LIFETIME: i64 = 300;

/// How a request is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum AuthForm {
    /// HTTP Message Signatures (RFC 9421), the form of anp 1.
    #[default]
    #[serde(rename = "signature")]
    Signature,
    /// `Authorization: DIDWba` that signs `service`: every verifier in the field takes it.
    #[serde(rename = "didwba")]
    DidWba,
    /// `Authorization: DIDWba` of version 1.1, which signs `aud`: agent-connect does not take it.
    #[serde(rename = "didwba-1.1")]
    DidWba11,
}

/// Signs requests with a key of a DID.
pub struct Signer {
    did: Did,
    fragment: String,
    key: PrivateKeyMaterial,
}

/// Why there is no signer.
#[derive(Debug, Error)]
pub enum SignerError {
    /// The document cannot be read.
    #[error("{}: {source}", .file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The document is none, or not whole.
    #[error("{}: {reason}", .file.display())]
    Document {
        /// Which file.
        file: PathBuf,
        /// Why.
        reason: DocumentProblem,
    },
    /// The file of the key cannot be read, or others can.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// It has no key that can sign.
    #[error("{}: expected a private key in PEM (Ed25519, P-256 or secp256k1), not encrypted", .0.display())]
    Key(PathBuf),
    /// It has another key than the document.
    #[error("{}: no key in \"authentication\" of {did} belongs to this private key", .file.display())]
    OtherKey {
        /// The file of the key.
        file: PathBuf,
        /// Whose document it is.
        did: Did,
    },
}

/// What is wrong with a document.
#[derive(Debug, Error)]
pub enum DocumentProblem {
    /// No JSON with an id.
    #[error("expected a DID document: a JSON object with an \"id\"")]
    NoId,
    /// The id is no DID that could be resolved.
    #[error(transparent)]
    Did(#[from] DidError),
    /// It cannot be used.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// A request could not be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the request could not be signed")]
pub struct SignError;

impl Signer {
    /// Reads a DID document and the private key of one of its keys in `authentication`.
    ///
    /// # Errors
    ///
    /// [`SignerError`], also where other users can read the key.
    pub fn load(document: &Path, key: &Path) -> Result<Self, SignerError> {
        let parsed = load_document(document)?;
        let pem = read_secret(key)?;
        Self::of(&parsed, &pem, key)
    }

    /// As [`Signer::load`], with the texts of a document and of a key in PEM. Errors speak of them as
    /// `did` and `key`.
    ///
    /// # Errors
    ///
    /// [`SignerError`].
    pub fn from_texts(document: &str, key: &str) -> Result<Self, SignerError> {
        let parsed = parse_document(document.as_bytes()).map_err(|reason| {
            let file = PathBuf::from("did");
            SignerError::Document { file, reason }
        })?;
        Self::of(&parsed, key, Path::new("key"))
    }

    /// A signer for `parsed` with the key in `pem`, which is called `key`.
    fn of(parsed: &Document, pem: &str, key: &Path) -> Result<Self, SignerError> {
        let private = PrivateKeyMaterial::from_compatible_private_pem(pem.trim_start());
        let private = private.map_err(|_| SignerError::Key(key.to_owned()))?;
        let fragment = own_fragment(parsed, &private).ok_or_else(|| match private {
            PrivateKeyMaterial::X25519(_) => SignerError::Key(key.to_owned()),
            _ => SignerError::OtherKey {
                file: key.to_owned(),
                did: parsed.did().clone(),
            },
        })?;
        Ok(Self {
            did: parsed.did().clone(),
            fragment,
            key: private,
        })
    }

    /// Who signs.
    pub fn did(&self) -> &Did {
        &self.did
    }

    /// The key that signs, as the fragment of its verification method.
    pub fn fragment(&self) -> &str {
        &self.fragment
    }

    /// The headers that prove `target` to be ours, made at `now` in seconds since 1970, with the
    /// server's `nonce` or one of our own.
    ///
    /// # Errors
    ///
    /// [`SignError`]: the system has no randomness, or the target has characters that no URL has.
    pub fn headers(
        &self,
        form: AuthForm,
        target: &Target<'_>,
        nonce: Option<&str>,
        now: i64,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, SignError> {
        self.headers_over(form, target, None, nonce, now)
    }

    /// As [`Signer::headers`], for a request with this `body`: a message signature covers its
    /// `Content-Digest` (RFC 9530), which is among the headers. The other forms cover no body.
    ///
    /// # Errors
    ///
    /// As [`Signer::headers`].
    pub fn headers_with_body(
        &self,
        form: AuthForm,
        target: &Target<'_>,
        body: &[u8],
        nonce: Option<&str>,
        now: i64,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, SignError> {
        let digest = content_digest(body);
        self.headers_over(form, target, Some(&digest), nonce, now)
    }

    fn headers_over(
        &self,
        form: AuthForm,
        target: &Target<'_>,
        digest: Option<&str>,
        nonce: Option<&str>,
        now: i64,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, SignError> {
        let nonce = match nonce {
            Some(nonce) => nonce.to_owned(),
            None => {
                let mut random = [0; 16];
                fill(&mut random).map_err(|_| SignError)?;
                random.iter().map(|byte| format!("{byte:02x}")).collect()
            }
        };
        let headers = match form {
            AuthForm::Signature => self.message_signature(target, digest, &nonce, now)?,
            AuthForm::DidWba => self.didwba(target, &nonce, now, AudienceField::Service)?,
            AuthForm::DidWba11 => self.didwba(target, &nonce, now, AudienceField::Aud)?,
        };
        let value = |text: String| HeaderValue::try_from(text).map_err(|_| SignError);
        headers
            .into_iter()
            .map(|(name, text)| Ok((name, value(text)?)))
            .collect()
    }

    fn didwba(
        &self,
        target: &Target<'_>,
        nonce: &str,
        now: i64,
        field: AudienceField,
    ) -> Result<Vec<(HeaderName, String)>, SignError> {
        let Self { did, fragment, .. } = self;
        // A verifier that does not know `v` takes "service", one that misses it "aud".
        let version = match field {
            AudienceField::Service => "1.0",
            AudienceField::Aud => "1.1",
        };
        let timestamp = format_timestamp(now);
        let signed = didwba_bytes(did, nonce, &timestamp, field, target.host);
        let signature = BASE64URL.encode(self.sign(&signed)?);
        let header = format!(
            r#"DIDWba v="{version}", did="{did}", nonce="{nonce}", timestamp="{timestamp}", verification_method="{fragment}", signature="{signature}""#
        );
        Ok(vec![(AUTHORIZATION, header)])
    }

    fn message_signature(
        &self,
        target: &Target<'_>,
        digest: Option<&str>,
        nonce: &str,
        now: i64,
    ) -> Result<Vec<(HeaderName, String)>, SignError> {
        let Self { did, fragment, .. } = self;
        let Target {
            method,
            url,
            authority,
            ..
        } = target;
        let expires = now.saturating_add(LIFETIME);
        let (component, line) = match digest {
            Some(digest) => (
                r#" "content-digest""#,
                format!("\"content-digest\": {digest}\n"),
            ),
            None => ("", String::new()),
        };
        let parameters = format!(
            r#"("@method" "@target-uri" "@authority"{component});created={now};expires={expires};nonce="{nonce}";keyid="{did}#{fragment}""#
        );
        let base = format!(
            "\"@method\": {method}\n\"@target-uri\": {url}\n\"@authority\": {authority}\n{line}\
             \"@signature-params\": {parameters}"
        );
        let signature = BASE64.encode(self.sign(base.as_bytes())?);
        let mut headers = vec![
            (SIGNATURE_INPUT, format!("sig1={parameters}")),
            (SIGNATURE, format!("sig1=:{signature}:")),
        ];
        headers.extend(digest.map(|digest| (CONTENT_DIGEST, digest.to_owned())));
        Ok(headers)
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.key.sign_message(message).map_err(|_| SignError)
    }
}

/// Reads a DID document from a file.
///
/// # Errors
///
/// [`SignerError::Read`] and [`SignerError::Document`].
pub fn load_document(file: &Path) -> Result<Document, SignerError> {
    let bytes = std::fs::read(file).map_err(|source| SignerError::Read {
        file: file.to_owned(),
        source,
    })?;
    parse_document(&bytes).map_err(|reason| SignerError::Document {
        file: file.to_owned(),
        reason,
    })
}

fn parse_document(bytes: &[u8]) -> Result<Document, DocumentProblem> {
    if bytes.len() > MAX_DOCUMENT_LEN {
        return Err(DocumentError::TooLarge.into());
    }
    let value: serde_json::Value =
        serde_json::from_slice(bytes).map_err(|_| DocumentProblem::NoId)?;
    let id = value.get("id").and_then(serde_json::Value::as_str);
    let did = id.ok_or(DocumentProblem::NoId)?.parse()?;
    Ok(Document::parse(&did, bytes)?)
}

/// The key of the document that checks what `private` signs.
fn own_fragment(document: &Document, private: &PrivateKeyMaterial) -> Option<String> {
    let probe = b"which key of the document is this?";
    let signature = private.sign_message(probe).ok()?;
    let belongs = |fragment: &&str| {
        let key = document.key(fragment);
        key.is_ok_and(|key| key.verify(probe, &signature))
    };
    document.fragments().find(belongs).map(str::to_owned)
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("did", &self.did)
            .field("fragment", &self.fragment)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::{
        create::{KeyKind, NewIdentity, create},
        header::Credentials,
        keyfile::write_secret,
    };

    const TARGET: Target<'_> = Target {
        method: "GET",
        url: "wss://gw.example:8765/anpx",
        authority: "gw.example:8765",
        host: "gw.example",
    };

    fn signer(kind: KeyKind) -> (Signer, Document) {
        let identity = create(&NewIdentity {
            host: "did.example".into(),
            port: None,
            path: vec!["user".into(), "alice".into()],
            kind,
        })
        .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (document, key) = (dir.path().join("did.json"), dir.path().join("key.pem"));
        std::fs::write(&document, identity.document.to_string()).unwrap();
        write_secret(&key, &identity.private_key_pem).unwrap();
        let signer = Signer::load(&document, &key).unwrap();
        assert_eq!(signer.did(), &identity.did);
        (signer, load_document(&document).unwrap())
    }

    #[test]
    fn every_kind_of_key_signs_every_form() {
        for kind in [KeyKind::Ed25519, KeyKind::Secp256k1, KeyKind::P256] {
            let (signer, document) = signer(kind);
            let key = document.key(signer.fragment()).unwrap();
            for form in [AuthForm::Signature, AuthForm::DidWba, AuthForm::DidWba11] {
                let made = signer.headers(form, &TARGET, Some("n0nce"), 1_733_402_096);
                let headers: HeaderMap = made.unwrap().into_iter().collect();
                match Credentials::read(&headers).unwrap() {
                    Credentials::Signature(signature) => {
                        assert_eq!(form, AuthForm::Signature);
                        assert_eq!(signature.nonce, "n0nce");
                        let base = signature
                            .base("GET", TARGET.url, TARGET.authority, &headers)
                            .unwrap();
                        assert!(key.verify(base.as_bytes(), &signature.signature));
                    }
                    Credentials::DidWba(header) => {
                        assert_eq!(header.signed_at, 1_733_402_096);
                        let field = match form {
                            AuthForm::DidWba11 => AudienceField::Aud,
                            _ => AudienceField::Service,
                        };
                        assert_eq!(header.audience_fields(), [field]);
                        let signed = header.signed_bytes(field, TARGET.host);
                        assert!(key.verify(&signed, &header.signature));
                    }
                    Credentials::Bearer(_) => panic!("there is no token"),
                }
            }
            let nonce = || {
                let made = signer.headers(AuthForm::DidWba, &TARGET, None, 0);
                made.unwrap()[0].1.clone()
            };
            assert_ne!(nonce(), nonce());
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let identity = create(&NewIdentity {
                host: "did.example".into(),
                port: None,
                path: vec![name.into()],
                kind: KeyKind::Ed25519,
            })
            .unwrap();
            let document = dir.path().join(format!("{name}.json"));
            let key = dir.path().join(format!("{name}.pem"));
            std::fs::write(&document, identity.document.to_string()).unwrap();
            write_secret(&key, &identity.private_key_pem).unwrap();
            (document, key)
        };
        let (alice, alice_key) = make("alice");
        let (_, bob_key) = make("bob");
        let error = |document: &Path, key: &Path| Signer::load(document, key).unwrap_err();
        assert!(matches!(
            error(&alice, &bob_key),
            SignerError::OtherKey { .. }
        ));
        assert!(matches!(
            error(&alice_key, &alice_key),
            SignerError::Document { .. }
        ));
        assert!(matches!(
            error(&dir.path().join("x"), &alice_key),
            SignerError::Read { .. }
        ));
        assert!(matches!(
            error(&alice, &dir.path().join("x")),
            SignerError::KeyFile(_)
        ));
        let text = dir.path().join("text.pem");
        write_secret(
            &text,
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        )
        .unwrap();
        assert!(matches!(error(&alice, &text), SignerError::Key(_)));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&alice_key, std::fs::Permissions::from_mode(0o644)).unwrap();
            let error = error(&alice, &alice_key).to_string();
            assert!(error.contains("chmod 600"), "{error}");
        }
    }
}
