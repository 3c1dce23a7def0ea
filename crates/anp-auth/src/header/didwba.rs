//! `Authorization: DIDWba …`, the form of agent-connect and of anp in its legacy mode.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;

use super::{HeaderError, check_nonce, fragment_of, is_plain};
use crate::{did::Did, encoding::BASE64URL, time::parse_timestamp};

/// The content of an `Authorization: DIDWba` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DidWba {
    /// Who claims to have signed.
    pub did: Did,
    /// A value that no other header of this DID has.
    pub nonce: String,
    /// The time of signing as it was written, which is what is signed.
    pub timestamp: String,
    /// The same in seconds since 1970.
    pub signed_at: i64,
    /// The key, as the fragment of its verification method.
    pub fragment: String,
    /// The signature: 64 bytes, or fewer from versions that leave out leading zeros.
    pub signature: Vec<u8>,
    /// What the header calls its version, if anything.
    pub version: Option<String>,
}

/// What a version calls the host name that it signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AudienceField {
    /// Before version 1.1.
    Service,
    /// Since version 1.1.
    Aud,
}

impl DidWba {
    /// Parses what follows the scheme: `name="value"` separated by commas, each of the five names
    /// once, `v` at most once, and no other.
    ///
    /// # Errors
    ///
    /// [`HeaderError`] tells what is missing, repeated, unknown or impossible.
    pub fn parse(text: &str) -> Result<Self, HeaderError> {
        let mut parameters = Parameters::default();
        for part in text.split(',') {
            let (name, value) = part
                .trim_matches(' ')
                .split_once('=')
                .ok_or(HeaderError::Syntax("Authorization"))?;
            let value = value
                .strip_prefix('"')
                .and_then(|value| value.strip_suffix('"'))
                .filter(|value| is_plain(value))
                .ok_or(HeaderError::Syntax("Authorization"))?;
            let place = parameters.place(name).ok_or(HeaderError::Parameter)?;
            if place.replace(value).is_some() {
                return Err(HeaderError::Parameter);
            }
        }
        parameters.check()
    }

    /// The names under which the audience may have been signed, the likelier first. Versions before
    /// 1.1 do not always say which they are.
    pub fn audience_fields(&self) -> &'static [AudienceField] {
        // Clients compare versions as fractions, so that 1.10 is 1.1.
        match self.version.as_deref().map(str::parse::<f64>) {
            None => &[AudienceField::Service, AudienceField::Aud],
            Some(Ok(version)) if version >= 1.1 => &[AudienceField::Aud],
            Some(_) => &[AudienceField::Service],
        }
    }

    /// What is signed: the SHA-256 of the canonical JSON (RFC 8785) of the header and the host name
    /// it is meant for.
    pub fn signed_bytes(&self, field: AudienceField, host: &str) -> [u8; 32] {
        signed_bytes(&self.did, &self.nonce, &self.timestamp, field, host)
    }
}

/// As [`DidWba::signed_bytes`]. None of the values has characters that JSON would escape.
pub(crate) fn signed_bytes(
    did: &Did,
    nonce: &str,
    timestamp: &str,
    field: AudienceField,
    host: &str,
) -> [u8; 32] {
    let json = match field {
        AudienceField::Aud => {
            format!(
                r#"{{"aud":"{host}","did":"{did}","nonce":"{nonce}","timestamp":"{timestamp}"}}"#
            )
        }
        AudienceField::Service => {
            format!(
                r#"{{"did":"{did}","nonce":"{nonce}","service":"{host}","timestamp":"{timestamp}"}}"#
            )
        }
    };
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, json.as_bytes()).as_ref());
    bytes
}

#[derive(Default)]
struct Parameters<'a> {
    did: Option<&'a str>,
    nonce: Option<&'a str>,
    timestamp: Option<&'a str>,
    verification_method: Option<&'a str>,
    signature: Option<&'a str>,
    version: Option<&'a str>,
}

impl<'a> Parameters<'a> {
    fn place(&mut self, name: &str) -> Option<&mut Option<&'a str>> {
        Some(match name {
            "did" => &mut self.did,
            "nonce" => &mut self.nonce,
            "timestamp" => &mut self.timestamp,
            "verification_method" => &mut self.verification_method,
            "signature" => &mut self.signature,
            "v" => &mut self.version,
            _ => return None,
        })
    }

    fn check(self) -> Result<DidWba, HeaderError> {
        let missing = HeaderError::MissingParameter;
        let did: Did = self.did.ok_or(missing("did"))?.parse()?;
        let nonce = self.nonce.ok_or(missing("nonce"))?;
        check_nonce(nonce)?;
        let timestamp = self.timestamp.ok_or(missing("timestamp"))?;
        let signed_at = parse_timestamp(timestamp).ok_or(HeaderError::Value("timestamp"))?;
        let method = self
            .verification_method
            .ok_or(missing("verification_method"))?;
        let fragment =
            fragment_of(&did, method).ok_or(HeaderError::Value("verification_method"))?;
        let signature = BASE64URL
            .decode(self.signature.ok_or(missing("signature"))?)
            .ok()
            .filter(|bytes| (62..=64).contains(&bytes.len()))
            .ok_or(HeaderError::Value("signature"))?;
        if !self.version.is_none_or(is_version) {
            return Err(HeaderError::Value("v"));
        }
        Ok(DidWba {
            fragment: fragment.to_owned(),
            nonce: nonce.to_owned(),
            timestamp: timestamp.to_owned(),
            version: self.version.map(str::to_owned),
            did,
            signed_at,
            signature,
        })
    }
}

/// Takes `1`, `1.0`, `1.1` and the like.
fn is_version(text: &str) -> bool {
    let is_number =
        |text: &str| (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    is_number(major) && is_number(minor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIGNATURE: &str =
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn header() -> String {
        format!(
            r#"did="did:wba:a.example:bob", nonce="0f", timestamp="2024-12-05T12:34:56Z", verification_method="key-1", signature="{SIGNATURE}""#
        )
    }

    #[test]
    fn reads_what_clients_send() {
        let parsed = DidWba::parse(&header()).unwrap();
        assert_eq!(parsed.did.as_str(), "did:wba:a.example:bob");
        assert_eq!(
            (parsed.nonce.as_str(), parsed.fragment.as_str()),
            ("0f", "key-1")
        );
        assert_eq!(parsed.signed_at, 1_733_402_096);
        assert_eq!(parsed.signature, [0; 64]);
        assert_eq!(
            parsed.audience_fields(),
            [AudienceField::Service, AudienceField::Aud]
        );
        for (version, field) in [("1.0", AudienceField::Service), ("1.1", AudienceField::Aud)] {
            let parsed = DidWba::parse(&format!(r#"v="{version}", {}"#, header())).unwrap();
            assert_eq!(parsed.audience_fields(), [field]);
        }
    }

    #[test]
    fn refuses_everything_else() {
        let missing = HeaderError::MissingParameter;
        for (from, to, error) in [
            (r#"did="did:wba:a.example:bob", "#, "", missing("did")),
            (r#"nonce="0f", "#, "", missing("nonce")),
            (
                r#"timestamp="2024-12-05T12:34:56Z", "#,
                "",
                missing("timestamp"),
            ),
            (
                r#"verification_method="key-1", "#,
                "",
                missing("verification_method"),
            ),
            (
                r#"nonce="0f""#,
                r#"nonce="0f", nonce="0f""#,
                HeaderError::Parameter,
            ),
            (
                r#"nonce="0f""#,
                r#"nonce="0f", extra="x""#,
                HeaderError::Parameter,
            ),
            (r#"nonce="0f""#, r#"nonce="""#, HeaderError::Value("nonce")),
            (
                r#"nonce="0f""#,
                r#"nonce="a\"b""#,
                HeaderError::Syntax("Authorization"),
            ),
            (
                r#"nonce="0f""#,
                r#"nonce="a b""#,
                HeaderError::Syntax("Authorization"),
            ),
            (
                r#"nonce="0f""#,
                "nonce=0f",
                HeaderError::Syntax("Authorization"),
            ),
            (
                r#"nonce="0f", "#,
                r#"nonce="0f",, "#,
                HeaderError::Syntax("Authorization"),
            ),
            ("12:34:56Z", "12:34:56", HeaderError::Value("timestamp")),
            (
                "key-1",
                "did:wba:b.example#key-1",
                HeaderError::Value("verification_method"),
            ),
            (SIGNATURE, "AAAA", HeaderError::Value("signature")),
            (SIGNATURE, "AA/A", HeaderError::Value("signature")),
            (
                r#"nonce="0f""#,
                r#"nonce="0f", v="1.x""#,
                HeaderError::Value("v"),
            ),
            (
                "a.example",
                "127.0.0.1",
                HeaderError::Did(crate::DidError::Address),
            ),
        ] {
            let text = header().replace(from, to);
            assert_ne!(text, header());
            assert_eq!(DidWba::parse(&text), Err(error), "{text}");
        }
        assert_eq!(DidWba::parse(""), Err(HeaderError::Syntax("Authorization")));
    }

    proptest! {
        #[test]
        fn any_text_gives_a_value_or_an_error(text in any::<String>()) {
            let _ = DidWba::parse(&text);
        }

        #[test]
        fn any_damage_gives_a_value_or_an_error(at in 0_usize..200, with in any::<char>()) {
            let mut text: Vec<char> = header().chars().collect();
            if let Some(place) = text.get_mut(at) {
                *place = with;
            }
            let _ = DidWba::parse(&text.into_iter().collect::<String>());
        }
    }
}
