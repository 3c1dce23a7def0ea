//! How a receiver proves who it is: by a signature for each handshake, by the token a gateway gave
//! for one, or by a token that was agreed on before.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anp_auth::{AuthForm, KeyFileError, Signer, SignerError, Target, read_secret};
use tokio::time::Instant;

use crate::{address::GatewayUrl, config::Config, connect::answer::Answer, secret::Secret};

/// A token is not used in its last seconds: a clock may differ, and a handshake takes time.
const MARGIN: Duration = Duration::from_secs(30);

/// How long a token is used that came without its time.
const UNTOLD: Duration = Duration::from_secs(300);

/// Longest token kept, in bytes.
const MAX_TOKEN: usize = 4096;

/// What the receiver has to prove itself with.
#[derive(Debug)]
pub(crate) enum Identity {
    /// Nothing.
    None,
    /// A key of a DID.
    Key(Box<Signer>, AuthForm),
    /// A pre-shared token.
    Token(Secret),
}

/// Why an identity cannot be used. The user's to mend.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Document and key do not make a signer.
    #[error("receiver.did_document, receiver.did_key: {0}")]
    Signer(#[from] SignerError),
    /// The file of the token cannot be used.
    #[error("receiver.token_file: {0}")]
    File(#[from] KeyFileError),
    /// The file has something else.
    #[error("receiver.token_file: {}: expected a token, such as anp_…, and nothing else", .0.display())]
    Token(PathBuf),
}

/// What one handshake shows.
#[derive(Debug)]
pub(crate) enum Proof {
    /// Nothing.
    Nothing,
    /// A pre-shared token.
    Preshared,
    /// The token that the gateway gave for a signature.
    Token(String),
    /// A new signature, with the gateway's nonce where it asked for one.
    Signature(Option<String>),
}

/// The token that a gateway gave, until it ends.
#[derive(Debug, Default)]
pub(crate) struct Given(Mutex<Option<(Secret, Instant)>>);

impl Identity {
    /// Reads what the configuration names.
    pub(crate) fn load(config: &Config) -> Result<Self, IdentityError> {
        if let (Some(document), Some(key)) = (&config.did_document, &config.did_key) {
            let signer = Signer::load(document, key)?;
            return Ok(Self::Key(Box::new(signer), config.auth_form));
        }
        Ok(config.preshared()?.map_or(Self::None, Self::Token))
    }

    /// Says in the log who the receiver is.
    pub(crate) fn tell(&self) {
        if let Self::Key(signer, _) = self {
            tracing::info!(did = %signer.did(), "identity loaded");
        }
    }

    /// What to show first.
    pub(crate) fn first_proof(&self, given: &Given) -> Proof {
        match self {
            Self::None => Proof::Nothing,
            Self::Token(_) => Proof::Preshared,
            Self::Key(..) => match given.get() {
                Some(token) => Proof::Token(token),
                None => Proof::Signature(None),
            },
        }
    }

    /// The lines of a request that show `proof` to `gateway`.
    pub(crate) fn fields(&self, proof: &Proof, gateway: &GatewayUrl) -> String {
        match (self, proof) {
            (Self::Token(token), _) => bearer(token.expose()),
            (Self::Key(..), Proof::Token(token)) => bearer(token),
            (Self::Key(signer, form), Proof::Signature(nonce)) => {
                let url = gateway.url();
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
                let signed = Target::of("GET", &url)
                    .and_then(|target| signer.headers(*form, &target, nonce.as_deref(), now).ok());
                let lines = signed.unwrap_or_default().into_iter().map(|(name, value)| {
                    format!("{name}: {}\r\n", value.to_str().unwrap_or_default())
                });
                lines.collect()
            }
            _ => String::new(),
        }
    }
}

impl Config {
    /// The token that `token` has, or the file of `token_file`. Blocks for as long as reading takes.
    ///
    /// # Errors
    /// The file cannot be used, or has something else.
    pub fn preshared(&self) -> Result<Option<Secret>, IdentityError> {
        let (None, Some(file)) = (&self.token, &self.token_file) else {
            return Ok(self.token.clone());
        };
        let text = read_secret(file)?;
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(IdentityError::Token(file.clone()));
        }
        Ok(Some(token.to_owned().into()))
    }
}

impl Proof {
    /// What to show after the gateway answered 401 to this, if there is anything else: a signature
    /// instead of a token, and the gateway's nonce once.
    pub(crate) fn after_refusal(self, nonce: Option<String>) -> Option<Self> {
        match self {
            Self::Token(_) => Some(Self::Signature(nonce)),
            Self::Signature(None) => nonce.map(|nonce| Self::Signature(Some(nonce))),
            Self::Signature(Some(_)) | Self::Preshared | Self::Nothing => None,
        }
    }
}

impl Given {
    fn get(&self) -> Option<String> {
        let given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (token, until) = given.as_ref()?;
        (Instant::now() < *until).then(|| token.expose().to_owned())
    }

    /// The gateway took a token for nothing.
    pub(crate) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Keeps the token that came with an answer, if one did: in `Authentication-Info`, or, from
    /// older gateways, in `Authorization`.
    pub(crate) fn keep(&self, answer: &Answer) {
        let info = answer
            .get("authentication-info")
            .next()
            .and_then(parse_info);
        let bearer = || {
            let value = answer.get("authorization").next()?;
            Some((value.strip_prefix("Bearer ")?.trim().to_owned(), UNTOLD))
        };
        let Some((token, good_for)) = info.or_else(bearer) else {
            return;
        };
        let plain = |b: u8| b.is_ascii_graphic() && b != b'"';
        if token.is_empty() || token.len() > MAX_TOKEN || !token.bytes().all(plain) {
            return;
        }
        let until = Instant::now() + good_for.saturating_sub(MARGIN);
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *given = Some((token.into(), until));
    }
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// `access_token="…", token_type="Bearer", expires_in=3600`.
fn parse_info(value: &str) -> Option<(String, Duration)> {
    let (mut token, mut seconds) = (None, None);
    for part in value.split(',') {
        let (name, value) = part.trim().split_once('=')?;
        let value = value.trim_matches('"');
        match name {
            "access_token" => token = Some(value.to_owned()),
            "token_type" if !value.eq_ignore_ascii_case("bearer") => return None,
            "expires_in" => seconds = value.parse().ok(),
            _ => {}
        }
    }
    // A day at most: what a gateway says must not overflow a clock.
    let good_for = seconds.map_or(UNTOLD, |s: u64| Duration::from_secs(s.min(86_400)));
    Some((token?, good_for))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_gateways_write_it() {
        let hour = Duration::from_secs(3600);
        for (text, read) in [
            (
                r#"access_token="a.b.c", token_type="Bearer", expires_in=3600"#,
                Some(("a.b.c", hour)),
            ),
            (r#"access_token="a.b.c""#, Some(("a.b.c", UNTOLD))),
            (r#"access_token=x,expires_in="3600""#, Some(("x", hour))),
            (r#"access_token="x", token_type="MAC""#, None),
            ("expires_in=3600", None),
            ("", None),
        ] {
            let read = read.map(|(token, time)| (token.to_owned(), time));
            assert_eq!(parse_info(text), read, "{text}");
        }
        let (_, time) = parse_info("access_token=x, expires_in=18446744073709551615").unwrap();
        assert_eq!(time.as_secs(), 86_400);
    }

    #[test]
    fn a_refusal_is_answered_with_something_else_and_once() {
        let nonce = || Some("n".to_owned());
        let token = Proof::Token("t".into());
        let Some(signature @ Proof::Signature(None)) = token.after_refusal(None) else {
            panic!("a signature was due");
        };
        let Some(challenged @ Proof::Signature(Some(_))) = signature.after_refusal(nonce()) else {
            panic!("the nonce was due");
        };
        assert!(challenged.after_refusal(nonce()).is_none());
        assert!(Proof::Signature(None).after_refusal(None).is_none());
        assert!(Proof::Preshared.after_refusal(nonce()).is_none());
        assert!(Proof::Nothing.after_refusal(nonce()).is_none());
    }
}
