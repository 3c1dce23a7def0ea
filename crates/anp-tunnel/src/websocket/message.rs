//! What a WebSocket carries.

use anpx::CloseCode;
use bytes::Bytes;

use super::opcode;

/// A message or control frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Binary(Bytes),
    Text(Bytes),
    Ping(Bytes),
    Pong(Bytes),
    /// Code and reason, where the peer gave them.
    Close(Option<(u16, Bytes)>),
}

impl Message {
    /// The control frame with this opcode and payload.
    pub(super) fn control(opcode: u8, payload: Bytes) -> Result<Self, WebSocketError> {
        Ok(match (opcode, payload.len()) {
            (opcode::PING, _) => Self::Ping(payload),
            (opcode::PONG, _) => Self::Pong(payload),
            (_, 0) => Self::Close(None),
            (_, 1) => return Err(WebSocketError::protocol("a close frame of one byte")),
            _ => {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                Self::Close(Some((code, payload.slice(2..))))
            }
        })
    }
}

/// A rule of RFC 6455 or a limit was broken: close with `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct WebSocketError {
    pub(crate) code: CloseCode,
    pub(crate) reason: &'static str,
}

impl WebSocketError {
    pub(super) fn protocol(reason: &'static str) -> Self {
        Self {
            code: CloseCode::WEBSOCKET_PROTOCOL,
            reason,
        }
    }
}
