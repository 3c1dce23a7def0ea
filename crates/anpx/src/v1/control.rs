//! JSON text messages of version 1 (ANPX 2.1).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// Longest text message that is looked at, in bytes. Longer ones are no ping of any peer.
const MAX_TEXT: usize = 16 << 10;
/// Longest timestamp that is sent back, in bytes.
const MAX_TIMESTAMP: usize = 128;

/// What a text message asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// A ping; [`pong`] with the same timestamp is due.
    Ping {
        /// The JSON text of `timestamp` as it was written: a number, or a string, which some
        /// encoders prefer. `None` where it is missing, is something else or exceeds 128 bytes.
        timestamp: Option<String>,
    },
    /// The answer to a ping.
    Pong,
    /// Anything else, malformed JSON included: accepted and ignored.
    Other,
}

#[derive(Deserialize)]
struct Text<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    timestamp: Option<&'a RawValue>,
}

impl Control {
    /// Reads a text message. Never fails: what is not understood is [`Control::Other`].
    pub fn read(text: &str) -> Self {
        // A derived struct reads an array of its members as well.
        if text.len() > MAX_TEXT || !text.trim_ascii_start().starts_with('{') {
            return Self::Other;
        }
        let Ok(message) = serde_json::from_str::<Text<'_>>(text) else {
            return Self::Other;
        };
        match &*message.kind {
            "ping" => Self::Ping {
                timestamp: message
                    .timestamp
                    .map(RawValue::get)
                    .filter(|t| t.len() <= MAX_TIMESTAMP)
                    .filter(|t| t.starts_with(|c: char| c == '-' || c == '"' || c.is_ascii_digit()))
                    .map(str::to_owned),
            },
            "pong" => Self::Pong,
            _ => Self::Other,
        }
    }
}

/// A ping with a number as timestamp.
pub fn ping(timestamp: u64) -> String {
    format!(r#"{{"type":"ping","timestamp":{timestamp}}}"#)
}

/// The answer to a ping; `timestamp` is the JSON text from [`Control::Ping`].
pub fn pong(timestamp: Option<&str>) -> String {
    match timestamp {
        Some(timestamp) => format!(r#"{{"type":"pong","timestamp":{timestamp}}}"#),
        None => r#"{"type":"pong"}"#.to_owned(),
    }
}
