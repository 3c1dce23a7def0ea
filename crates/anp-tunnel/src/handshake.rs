//! The WebSocket opening handshake (RFC 6455 section 4) as ANPX uses it (section 1 and 3.10).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};

use crate::Version;

/// The subprotocol that names version 2.
pub const V2: &str = "anpx.v2";
/// The subprotocol that names version 1.
pub const V1: &str = "anpx.v1";

/// `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key` (RFC 6455 section 4.2.2).
pub fn accept_key(key: &[u8]) -> String {
    let mut sha1 = Sha1::new();
    sha1.update(key);
    sha1.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(sha1.finalize())
}

/// A fresh `Sec-WebSocket-Key`.
pub fn new_key() -> String {
    STANDARD.encode(rand::random::<[u8; 16]>())
}

/// What a gateway makes of a subprotocol offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The version to speak.
    pub version: Version,
    /// The `Sec-WebSocket-Protocol` to answer, if any.
    pub answer: Option<&'static str>,
    /// The offer held `anpx.v2`, so refusals go out before the upgrade (ANPX 3.10).
    pub offered_v2: bool,
}

/// Chooses the version for an offer: every `Sec-WebSocket-Protocol` value, in order.
/// `None` where the offer holds no version of ours at or above `min_version` (answer 400).
pub fn choose<'a>(offer: impl IntoIterator<Item = &'a str>, min_version: u8) -> Option<Choice> {
    let (mut any, mut v1, mut v2) = (false, false, false);
    for token in offer
        .into_iter()
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|t| !t.is_empty())
    {
        any = true;
        v1 |= token == V1;
        v2 |= token == V2;
    }
    let v1_allowed = min_version <= 1;
    if v2 {
        Some(Choice {
            version: Version::V2,
            answer: Some(V2),
            offered_v2: true,
        })
    } else if v1 && v1_allowed {
        Some(Choice {
            version: Version::V1,
            answer: Some(V1),
            offered_v2: false,
        })
    } else if !any && v1_allowed {
        Some(Choice {
            version: Version::V1,
            answer: None,
            offered_v2: false,
        })
    } else {
        None
    }
}

/// What a receiver that offered both versions makes of the answered subprotocol.
/// `None` where the answer was not offered.
pub fn answered(protocol: Option<&str>) -> Option<Version> {
    match protocol {
        Some(V2) => Some(Version::V2),
        Some(V1) => Some(Version::V1),
        Some(_) => None,
        None => Some(Version::Undecided),
    }
}
