//! What a tunnel is made with.

use std::time::{Duration, Instant};

use anpx::{
    limits::{FRAME_OVERHEAD, MAX_V1_FRAME},
    session::{
        Role, Session,
        config::{V1Config, V2Config},
        v1, v2,
    },
};

/// The wire version of a tunnel, as the handshake left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Version 1.
    V1,
    /// Version 2.
    V2,
    /// Receiver that offered `anpx.v2` and got no answer: the first binary message decides (ANPX section 1).
    Undecided,
}

/// What a tunnel is made with. Its two session settings must be for the same role.
#[derive(Clone, Debug)]
pub struct TunnelConfig {
    /// Session settings of version 1.
    pub v1: V1Config,
    /// Session settings of version 2.
    pub v2: V2Config,
    /// A side that read nothing this long sends a ping; twice this long without a byte ends the tunnel.
    pub ping_interval: Duration,
    /// How long frames may wait with nothing written before the tunnel ends.
    pub write_timeout: Duration,
}

impl TunnelConfig {
    /// The defaults for `role`: pings every 10 s, 30 s to write.
    pub fn new(role: Role) -> Self {
        Self {
            v1: V1Config::new(role),
            v2: V2Config::new(role),
            ping_interval: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
        }
    }

    /// The session of `version`, `None` while it is undecided.
    pub(crate) fn session(&self, version: Version, now: Instant) -> Option<Session> {
        match version {
            Version::V1 => Some(Session::V1(v1::Session::new(self.v1.clone(), now))),
            Version::V2 => Some(Session::V2(v2::Session::new(self.v2.clone(), now))),
            Version::Undecided => None,
        }
    }

    /// Most bytes of a message on `version` (ANPX section 4).
    pub(crate) fn message_limit(&self, version: Version) -> usize {
        match version {
            Version::V2 => {
                let body = usize::try_from(self.v2.max_frame_body).unwrap_or(usize::MAX);
                body.saturating_add(FRAME_OVERHEAD)
            }
            Version::V1 | Version::Undecided => MAX_V1_FRAME,
        }
    }
}
