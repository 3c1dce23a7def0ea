//! What a session is made with.

use std::time::Duration;

use crate::{limits::Budget, role::Role};

/// Settings of a version-2 session. Defaults are ANPX 3.3's.
#[derive(Clone, Debug)]
pub struct V2Config {
    /// Which end this is.
    pub role: Role,
    /// Largest body of a frame this side reads, in bytes: 4 KiB to 1 MiB.
    /// Larger frames cost fewer headers and more delay for the streams that wait behind one.
    pub max_frame_body: u32,
    /// Window a stream starts with, in bytes: 16 KiB to 16 MiB. What one slow reader can make this side hold.
    pub initial_window: u32,
    /// Receiver: streams at once, 1 to 65,535. Gateway: its own bound on the streams it opens.
    /// `max_streams × initial_window` may not exceed 64 MiB.
    pub max_streams: u32,
    /// Growth of windows a session may charge, in bytes.
    pub session_growth: u64,
    /// Growth of windows that all sessions of the process share.
    pub process_growth: Budget,
    /// How long the peer's SETTINGS may take.
    pub settings_timeout: Duration,
}

impl V2Config {
    /// The defaults for `role`, with a growth budget of its own.
    pub fn new(role: Role) -> Self {
        Self {
            role,
            max_frame_body: 64 << 10,
            initial_window: 64 << 10,
            max_streams: 1024,
            session_growth: 64 << 20,
            process_growth: Budget::new(1 << 30),
            settings_timeout: Duration::from_secs(10),
        }
    }
}

/// Settings of a version-1 session.
#[derive(Clone, Debug)]
pub struct V1Config {
    /// Which end this is.
    pub role: Role,
    /// TLV bytes beyond which a message is split, in bytes.
    pub chunk_size: usize,
    /// Gateway: streams at once (peers in the field have 100 places).
    pub max_streams: usize,
    /// Most bytes held of one message, those a slow reader has not taken included.
    pub max_message: u64,
    /// Most bytes held by a session.
    pub max_session: u64,
    /// Bytes held that all sessions of the process share.
    pub process_held: Budget,
    /// Most messages incomplete at once.
    pub max_open_messages: usize,
    /// How long a message may go without a chunk.
    pub chunk_timeout: Duration,
    /// Receiver: between JSON pings (a gateway in the field closes after 20 s without one).
    pub ping_interval: Duration,
}

impl V1Config {
    /// The defaults for `role`, with a budget of its own.
    pub fn new(role: Role) -> Self {
        Self {
            role,
            chunk_size: 64 << 10,
            max_streams: 100,
            max_message: 64 << 20,
            max_session: 128 << 20,
            process_held: Budget::new(1 << 30),
            max_open_messages: 1000,
            chunk_timeout: Duration::from_secs(60),
            ping_interval: Duration::from_secs(10),
        }
    }
}
