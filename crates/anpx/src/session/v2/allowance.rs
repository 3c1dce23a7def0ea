//! What a peer may send that serves nobody (ANPX 3.6).

use crate::SessionError;

/// Counts late DATA and useless frames against what the session tolerates.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    /// Body bytes that may still come for streams this side reset.
    late: u64,
    /// Useless frames seen.
    useless: u64,
    /// Streams opened.
    opened: u64,
}

impl Allowance {
    /// Useless frames tolerated on a session without a stream.
    const USELESS_BASE: u64 = 1000;
    /// Useless frames tolerated for each stream opened.
    const USELESS_PER_STREAM: u64 = 4;

    /// A stream was opened.
    pub(super) fn stream_opened(&mut self) {
        self.opened += 1;
    }

    /// This side reset a stream whose peer had `window` bytes left to send.
    pub(super) fn reset_sent(&mut self, window: u32) {
        self.late += u64::from(window);
    }

    /// DATA arrived on a closed stream.
    pub(super) fn late_data(&mut self, len: usize) -> Result<(), SessionError> {
        self.late = u64::try_from(len)
            .ok()
            .and_then(|len| self.late.checked_sub(len))
            .ok_or(SessionError::protocol(
                "more DATA on closed streams than their windows allowed",
            ))?;
        Ok(())
    }

    /// A frame arrived that says nothing.
    pub(super) fn useless_frame(&mut self) -> Result<(), SessionError> {
        self.useless += 1;
        if self.useless > Self::USELESS_BASE + Self::USELESS_PER_STREAM * self.opened {
            return Err(SessionError::limit("too many useless frames"));
        }
        Ok(())
    }
}
