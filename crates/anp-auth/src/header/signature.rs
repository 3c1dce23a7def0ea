//! HTTP Message Signatures (RFC 9421), the subset that DID-WBA clients send.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use http::{HeaderMap, HeaderName};

use super::{CONTENT_DIGEST, HeaderError, check_nonce, fragment_of};
use crate::{did::Did, encoding::BASE64};

/// Most components a signature may cover.
const MAX_COMPONENTS: usize = 16;

/// A `Signature-Input` and its `Signature`: one signature, made with a key of a DID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageSignature {
    /// Who claims to have signed.
    pub did: Did,
    /// The key, as the fragment of its verification method.
    pub fragment: String,
    /// What is covered, in order.
    pub components: Vec<Component>,
    /// When it was signed, in seconds since 1970.
    pub created: i64,
    /// When it ends, in seconds since 1970, if it says so.
    pub expires: Option<i64>,
    /// A value that no other signature of this DID has.
    pub nonce: String,
    /// The algorithm, if it says which (RFC 9421 section 6.2.2).
    pub algorithm: Option<String>,
    /// The signature.
    pub signature: Vec<u8>,
    /// The components and parameters as they were written, which is what is signed.
    parameters: String,
}

/// What a signature covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Component {
    /// `@method`.
    Method,
    /// `@target-uri`: the URL as the client wrote it.
    TargetUri,
    /// `@authority`: host and port of that URL.
    Authority,
    /// A header.
    Field(HeaderName),
}

impl MessageSignature {
    /// Parses both headers. Exactly one signature, components without parameters, and the parameters
    /// `created`, `nonce`, `keyid`, optionally `expires` and `alg`, are accepted.
    ///
    /// # Errors
    ///
    /// [`HeaderError`], also if `@method`, `@target-uri` or `@authority` is not covered.
    pub fn parse(input: &str, signature: &str) -> Result<Self, HeaderError> {
        const SYNTAX: HeaderError = HeaderError::Syntax("Signature-Input");
        let (label, parameters) = input.trim_matches(' ').split_once('=').ok_or(SYNTAX)?;
        if !is_label(label) {
            return Err(SYNTAX);
        }
        let (list, rest) = parameters
            .strip_prefix('(')
            .and_then(|rest| rest.split_once(')'))
            .ok_or(SYNTAX)?;
        let components = parse_components(list)?;
        let values = Values::parse(rest)?;
        for (component, name) in [
            (Component::Method, "@method"),
            (Component::TargetUri, "@target-uri"),
            (Component::Authority, "@authority"),
        ] {
            if !components.contains(&component) {
                return Err(HeaderError::Uncovered(name));
            }
        }
        let missing = HeaderError::MissingParameter;
        let (did, _) = values
            .keyid
            .ok_or(missing("keyid"))?
            .split_once('#')
            .ok_or(HeaderError::Value("keyid"))?;
        let did: Did = did.parse()?;
        let fragment = fragment_of(&did, values.keyid.unwrap_or_default())
            .ok_or(HeaderError::Value("keyid"))?
            .to_owned();
        let nonce = values.nonce.ok_or(missing("nonce"))?;
        check_nonce(nonce)?;
        Ok(Self {
            did,
            fragment,
            components,
            created: values.created.ok_or(missing("created"))?,
            expires: values.expires,
            nonce: nonce.to_owned(),
            algorithm: values.algorithm.map(str::to_owned),
            signature: parse_signature(label, signature)?,
            parameters: parameters.to_owned(),
        })
    }

    /// True if the signature covers `component`.
    pub fn covers(&self, component: &Component) -> bool {
        self.components.contains(component)
    }

    /// Holds the body against `Content-Digest`, which must be covered if there is a body
    /// (did:wba method specification, section 3.1.1).
    ///
    /// # Errors
    ///
    /// [`HeaderError::Uncovered`] if the digest is not covered, [`HeaderError::Value`] if it is not
    /// that of the body.
    pub fn check_body(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), HeaderError> {
        if !self.covers(&Component::Field(CONTENT_DIGEST)) {
            return match body {
                [] => Ok(()),
                _ => Err(HeaderError::Uncovered("content-digest")),
            };
        }
        let mut digests = headers.get_all(CONTENT_DIGEST).iter();
        match (digests.next(), digests.next()) {
            (Some(digest), None) if digest.as_bytes() == content_digest(body).as_bytes() => Ok(()),
            _ => Err(HeaderError::Value("Content-Digest")),
        }
    }

    /// The signature base (RFC 9421 section 2.5) of a request to `target_uri` at `authority`.
    ///
    /// # Errors
    ///
    /// [`HeaderError::Component`] if a covered header is not there or is no ASCII.
    pub fn base(
        &self,
        method: &str,
        target_uri: &str,
        authority: &str,
        headers: &HeaderMap,
    ) -> Result<String, HeaderError> {
        let mut base = String::with_capacity(256 + self.parameters.len());
        for component in &self.components {
            match component {
                Component::Method => push_line(&mut base, "@method", method),
                Component::TargetUri => push_line(&mut base, "@target-uri", target_uri),
                Component::Authority => push_line(&mut base, "@authority", authority),
                Component::Field(name) => {
                    push_line(&mut base, name.as_str(), &field_value(headers, name)?);
                }
            }
        }
        base.push_str("\"@signature-params\": ");
        base.push_str(&self.parameters);
        Ok(base)
    }
}

/// The `Content-Digest` of a body, as SHA-256 (RFC 9530 section 2).
pub fn content_digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", BASE64.encode(digest(&SHA256, body)))
}

fn push_line(base: &mut String, name: &str, value: &str) {
    base.push('"');
    base.push_str(name);
    base.push_str("\": ");
    base.push_str(value);
    base.push('\n');
}

/// All values of a header, trimmed and joined (RFC 9421 section 2.1).
fn field_value(headers: &HeaderMap, name: &HeaderName) -> Result<String, HeaderError> {
    let mut joined = String::new();
    let mut values = headers.get_all(name).iter().peekable();
    if values.peek().is_none() {
        return Err(HeaderError::Component);
    }
    while let Some(value) = values.next() {
        joined.push_str(value.to_str().map_err(|_| HeaderError::Component)?.trim());
        if values.peek().is_some() {
            joined.push_str(", ");
        }
    }
    Ok(joined)
}

fn is_label(label: &str) -> bool {
    (1..=32).contains(&label.len())
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'*'))
}

/// `"@method" "@target-uri" …`, each once.
fn parse_components(list: &str) -> Result<Vec<Component>, HeaderError> {
    let mut components = Vec::new();
    for quoted in list.split(' ').filter(|part| !part.is_empty()) {
        let name = quoted
            .strip_prefix('"')
            .and_then(|name| name.strip_suffix('"'))
            .ok_or(HeaderError::Component)?;
        let component = match name {
            "@method" => Component::Method,
            "@target-uri" => Component::TargetUri,
            "@authority" => Component::Authority,
            // Names of fields are written in lower case (RFC 9421 section 2.1).
            _ if name.bytes().any(|b| b.is_ascii_uppercase()) => {
                return Err(HeaderError::Component);
            }
            _ => Component::Field(name.parse().map_err(|_| HeaderError::Component)?),
        };
        if components.contains(&component) || components.len() == MAX_COMPONENTS {
            return Err(HeaderError::Component);
        }
        components.push(component);
    }
    Ok(components)
}

#[derive(Default)]
struct Values<'a> {
    created: Option<i64>,
    expires: Option<i64>,
    nonce: Option<&'a str>,
    keyid: Option<&'a str>,
    algorithm: Option<&'a str>,
}

impl<'a> Values<'a> {
    /// Parses `;name=value` repeated.
    fn parse(text: &'a str) -> Result<Self, HeaderError> {
        let mut values = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            let after = rest
                .strip_prefix(';')
                .ok_or(HeaderError::Syntax("Signature-Input"))?
                .trim_start_matches(' ');
            let (name, after) = after
                .split_once('=')
                .ok_or(HeaderError::Syntax("Signature-Input"))?;
            rest = match name {
                "created" => number(&mut values.created, "created", after)?,
                "expires" => number(&mut values.expires, "expires", after)?,
                "nonce" => string(&mut values.nonce, after)?,
                "keyid" => string(&mut values.keyid, after)?,
                "alg" => string(&mut values.algorithm, after)?,
                _ => return Err(HeaderError::Parameter),
            };
        }
        Ok(values)
    }
}

/// An integer of at most 15 digits (RFC 8941 section 3.3.1). Returns what follows it.
fn number<'a>(
    place: &mut Option<i64>,
    name: &'static str,
    text: &'a str,
) -> Result<&'a str, HeaderError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let count = digits.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text
        .split_at_checked(text.len() - digits.len() + count)
        .ok_or(HeaderError::Value(name))?;
    if !(1..=15).contains(&count) {
        return Err(HeaderError::Value(name));
    }
    let value = number.parse().map_err(|_| HeaderError::Value(name))?;
    match place.replace(value) {
        Some(_) => Err(HeaderError::Parameter),
        None => Ok(rest),
    }
}

/// A string without escapes. Returns what follows it.
fn string<'a>(place: &mut Option<&'a str>, text: &'a str) -> Result<&'a str, HeaderError> {
    let (value, rest) = text
        .strip_prefix('"')
        .and_then(|text| text.split_once('"'))
        .filter(|(value, _)| !value.contains('\\'))
        .ok_or(HeaderError::Syntax("Signature-Input"))?;
    match place.replace(value) {
        Some(_) => Err(HeaderError::Parameter),
        None => Ok(rest),
    }
}

/// `label=:base64:`.
fn parse_signature(label: &str, text: &str) -> Result<Vec<u8>, HeaderError> {
    text.trim_matches(' ')
        .strip_prefix(label)
        .and_then(|text| text.strip_prefix("=:"))
        .and_then(|text| text.strip_suffix(':'))
        .and_then(|text| BASE64.decode(text).ok())
        .filter(|bytes| bytes.len() == 64)
        .ok_or(HeaderError::Syntax("Signature"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INPUT: &str = r#"sig1=("@method" "@target-uri" "@authority");created=1733402096;expires=1733402396;nonce="abc123";keyid="did:wba:a.example:bob#key-1""#;

    fn signature() -> String {
        format!("sig1=:{}:", BASE64.encode([7; 64]))
    }

    #[test]
    fn reads_what_clients_send() {
        let parsed = MessageSignature::parse(INPUT, &signature()).unwrap();
        assert_eq!(parsed.did.as_str(), "did:wba:a.example:bob");
        assert_eq!(
            (parsed.fragment.as_str(), parsed.nonce.as_str()),
            ("key-1", "abc123")
        );
        assert_eq!(
            (parsed.created, parsed.expires),
            (1_733_402_096, Some(1_733_402_396))
        );
        assert_eq!(parsed.signature, [7; 64]);
        let headers = HeaderMap::new();
        let base = parsed
            .base("GET", "wss://gw.example/anpx?a=b", "gw.example", &headers)
            .unwrap();
        assert_eq!(
            base,
            r#""@method": GET
"@target-uri": wss://gw.example/anpx?a=b
"@authority": gw.example
"@signature-params": ("@method" "@target-uri" "@authority");created=1733402096;expires=1733402396;nonce="abc123";keyid="did:wba:a.example:bob#key-1""#
        );
    }

    #[test]
    fn covers_headers_and_bodies() {
        let input = INPUT.replace(r#""@authority""#, r#""@authority" "content-digest" "x-a""#);
        let parsed = MessageSignature::parse(&input, &signature()).unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(
            parsed.base("GET", "u", "a", &headers),
            Err(HeaderError::Component)
        );
        assert_eq!(
            parsed.check_body(&headers, b""),
            Err(HeaderError::Value("Content-Digest"))
        );
        headers.insert(CONTENT_DIGEST, content_digest(b"body").parse().unwrap());
        headers.append("x-a", " 1 ".parse().unwrap());
        headers.append("x-a", "2".parse().unwrap());
        assert_eq!(parsed.check_body(&headers, b"body"), Ok(()));
        assert_eq!(
            parsed.check_body(&headers, b"other"),
            Err(HeaderError::Value("Content-Digest"))
        );
        let base = parsed.base("GET", "u", "a", &headers).unwrap();
        assert!(base.contains("\"x-a\": 1, 2\n"), "{base}");
        let plain = MessageSignature::parse(INPUT, &signature()).unwrap();
        assert_eq!(plain.check_body(&headers, b""), Ok(()));
        assert_eq!(
            plain.check_body(&headers, b"body"),
            Err(HeaderError::Uncovered("content-digest"))
        );
    }

    #[test]
    fn refuses_everything_else() {
        const SYNTAX: HeaderError = HeaderError::Syntax("Signature-Input");
        let created = "created=1733402096";
        for (from, to, error) in [
            ("sig1=", "si g=", SYNTAX),
            ("sig1=", "sig2=", HeaderError::Syntax("Signature")),
            (r#""@method" "#, "", HeaderError::Uncovered("@method")),
            (
                r#""@target-uri" "#,
                "",
                HeaderError::Uncovered("@target-uri"),
            ),
            (r#" "@authority""#, "", HeaderError::Uncovered("@authority")),
            (
                r#""@method""#,
                r#""@method" "@method""#,
                HeaderError::Component,
            ),
            (r#""@method""#, r#""@method";req"#, HeaderError::Component),
            (
                r#""@method""#,
                r#""@method" "@query""#,
                HeaderError::Component,
            ),
            (r#""@method""#, r#""@method" "X-A""#, HeaderError::Component),
            (r#""@method""#, "@method", HeaderError::Component),
            (created, "created=", HeaderError::Value("created")),
            (created, "created=1.5", SYNTAX),
            (created, "created=\"1\"", HeaderError::Value("created")),
            (
                created,
                "created=9223372036854775807",
                HeaderError::Value("created"),
            ),
            (
                created,
                "created=-9223372036854775808",
                HeaderError::Value("created"),
            ),
            (created, "created=1;created=1", HeaderError::Parameter),
            (
                ";created=1733402096",
                "",
                HeaderError::MissingParameter("created"),
            ),
            (
                r#";nonce="abc123""#,
                "",
                HeaderError::MissingParameter("nonce"),
            ),
            (
                r#"nonce="abc123""#,
                r#"nonce="a b""#,
                HeaderError::Value("nonce"),
            ),
            (r#"nonce="abc123""#, r#"nonce="abc"#, SYNTAX),
            (r#"nonce="abc123""#, r#"nonce="a\"c""#, SYNTAX),
            (
                r#"nonce="abc123""#,
                r#"nonce="a";tag="x""#,
                HeaderError::Parameter,
            ),
            ("#key-1", "", HeaderError::Value("keyid")),
            ("#key-1", "#", HeaderError::Value("keyid")),
            ("#key-1", "#a#b", HeaderError::Value("keyid")),
            (
                "a.example",
                "A.example",
                HeaderError::Did(crate::DidError::Host),
            ),
            (
                r#";keyid="did:wba:a.example:bob#key-1""#,
                "",
                HeaderError::MissingParameter("keyid"),
            ),
            ("#key-1\"", "#key-1\", sig2=()", SYNTAX),
        ] {
            let input = INPUT.replace(from, to);
            assert_ne!(input, INPUT);
            assert_eq!(
                MessageSignature::parse(&input, &signature()),
                Err(error),
                "{input}"
            );
        }
        for bad in [
            "",
            "sig1=:AAAA:",
            "sig1=AAAA",
            "sig1=:****:",
            &format!("{}, x=:AA==:", signature()),
        ] {
            let error = HeaderError::Syntax("Signature");
            assert_eq!(MessageSignature::parse(INPUT, bad), Err(error), "{bad}");
        }
    }

    #[test]
    fn limits_of_integers_are_values() {
        for limit in ["999999999999999", "-999999999999999", "0", "-0"] {
            let input = INPUT.replace("1733402096", limit);
            let parsed = MessageSignature::parse(&input, &signature()).unwrap();
            assert_eq!(parsed.created, limit.parse::<i64>().unwrap());
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_a_value_or_an_error(input in any::<String>(), signature in any::<String>()) {
            let _ = MessageSignature::parse(&input, &signature);
        }

        #[test]
        fn any_damage_gives_a_value_or_an_error(at in 0_usize..160, with in any::<char>()) {
            let mut text: Vec<char> = INPUT.chars().collect();
            if let Some(place) = text.get_mut(at) {
                *place = with;
            }
            let input: String = text.into_iter().collect();
            if let Ok(parsed) = MessageSignature::parse(&input, &signature()) {
                let _ = parsed.base("GET", "u", "a", &HeaderMap::new());
            }
        }
    }
}
