//! What a certificate says of itself.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::CertificateDer;
use x509_parser::{
    extensions::{GeneralName, ParsedExtension},
    prelude::{FromDer as _, X509Certificate},
    public_key::PublicKey,
    time::ASN1Time,
    x509::X509Version,
};

/// Why a certificate is not valid at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfTime {
    /// It was valid until then.
    Expired(SystemTime),
    /// It will be valid from then on.
    NotYet(SystemTime),
}

impl OutOfTime {
    /// In words, and the time behind them: "expired on", or "is not valid before".
    pub fn words(self) -> (&'static str, SystemTime) {
        match self {
            Self::Expired(at) => ("expired on", at),
            Self::NotYet(at) => ("is not valid before", at),
        }
    }
}

/// Shortest RSA key that TLS libraries take, in bits.
const MIN_RSA: usize = 2048;

/// Why nobody takes this certificate any more, and what helps; `None` where it is not that old.
pub(crate) fn outdated(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    if parsed.version() != X509Version::V3 {
        return Some(format!(
            "is a certificate of X.509 version {}, and TLS takes version 3 alone: with \
             \"openssl x509 -req\" give -extfile a file such as \"basicConstraints=CA:FALSE\"",
            parsed.version().0 + 1
        ));
    }
    match parsed.public_key().parsed() {
        Ok(PublicKey::RSA(key)) if key.key_size() < MIN_RSA => Some(format!(
            "its RSA key of {} bits is too short: make one of {MIN_RSA} at least, or an ECDSA key, \
             and a certificate for it",
            key.key_size()
        )),
        _ => None,
    }
}

/// The names and times of a certificate (RFC 5280 section 4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The alternative names: DNS names in lower case, some with `*.` in front, addresses, URIs.
    pub names: Vec<String>,
    /// The subject, as text for a log.
    pub subject: String,
    /// Not valid before.
    pub not_before: SystemTime,
    /// Not valid after.
    pub not_after: SystemTime,
}

impl CertificateFacts {
    /// Reads the certificate; `None` where it is none.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let names = parsed
            .extensions()
            .iter()
            .filter_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
                _ => None,
            })
            .flatten()
            .filter_map(text)
            .collect();
        Some(Self {
            names,
            subject: parsed.subject().to_string(),
            not_before: time(parsed.validity().not_before),
            not_after: time(parsed.validity().not_after),
        })
    }

    /// What to call it in a log: its first name, or its subject where it has none.
    pub fn name(&self) -> &str {
        self.names.first().unwrap_or(&self.subject)
    }

    /// True where it is valid no more.
    pub fn has_expired(&self, now: SystemTime) -> bool {
        self.not_after < now
    }

    /// Why it is not valid at `now`; `None` where it is.
    pub fn out_of_time(&self, now: SystemTime) -> Option<OutOfTime> {
        match self.has_expired(now) {
            true => Some(OutOfTime::Expired(self.not_after)),
            false => (now < self.not_before).then_some(OutOfTime::NotYet(self.not_before)),
        }
    }
}

fn text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        GeneralName::RFC822Name(address) => Some((*address).to_owned()),
        GeneralName::IPAddress(bytes) => match (<[u8; 4]>::try_from(*bytes), bytes.len()) {
            (Ok(v4), _) => Some(std::net::Ipv4Addr::from(v4).to_string()),
            (_, 16) => {
                let v6 = <[u8; 16]>::try_from(*bytes).ok()?;
                Some(std::net::Ipv6Addr::from(v6).to_string())
            }
            _ => None,
        },
        _ => None,
    }
}

/// Times before 1970 are 1970: what counts is whether they are past.
fn time(time: ASN1Time) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_times_are_read() {
        let names = ["Gate.example", "*.apps.example", "127.0.0.1", "::1"];
        let mut params = rcgen::CertificateParams::new(names.map(String::from)).unwrap();
        params.not_before = rcgen::date_time_ymd(2001, 2, 3);
        params.not_after = rcgen::date_time_ymd(2031, 2, 3);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let facts = CertificateFacts::of(certificate.der()).unwrap();
        let read = ["gate.example", "*.apps.example", "127.0.0.1", "::1"];
        assert_eq!(facts.names, read);
        assert_eq!(facts.name(), "gate.example");
        let end = UNIX_EPOCH + Duration::from_secs(1_927_843_200);
        assert_eq!(facts.not_after, end);
        assert!(!facts.has_expired(end));
        let late = end + Duration::from_secs(1);
        assert!(facts.has_expired(late));
        let begin = UNIX_EPOCH + Duration::from_secs(981_158_400);
        let early = begin - Duration::from_secs(1);
        for (now, why) in [
            (early, Some(OutOfTime::NotYet(begin))),
            (begin, None),
            (end, None),
            (late, Some(OutOfTime::Expired(end))),
        ] {
            assert_eq!(facts.out_of_time(now), why);
        }
        assert!(CertificateFacts::of(&CertificateDer::from(vec![0x30, 0])).is_none());
    }
}
