//! What a peer may send that serves nobody (ANPX 3.6).

use crate::SessionError;

/// Counts late DATA, late credit and useless frames against what the session tolerates.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    /// Body bytes that may still come for streams this side reset.
    late: u64,
    /// Credit that may still come for what was sent on streams that are closed.
    credit: u64,
    /// Useless frames seen.
    useless: u64,
    /// Streams opened.
    opened: u64,
    /// Informational heads that may still come on streams this side reset.
    informational: u64,
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

    /// This side reset a stream whose peer had `window` bytes and so many informational heads left to
    /// send.
    pub(super) fn reset_sent(&mut self, window: u32, informational: u8) {
        self.late += u64::from(window);
        self.informational += u64::from(informational);
    }

    /// A stream closed for which `due` credit may still come.
    pub(super) fn closed(&mut self, due: u64) {
        self.credit = self.credit.saturating_add(due);
    }

    /// Credit arrived on a closed stream. What was due is no nonsense of the peer's: it could not
    /// know yet that nothing more will be sent.
    pub(super) fn late_credit(&mut self, credit: u32) -> Result<(), SessionError> {
        match self.credit.checked_sub(u64::from(credit)) {
            Some(left) => {
                self.credit = left;
                Ok(())
            }
            None => self.useless_frame(),
        }
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
        let streams = Self::USELESS_PER_STREAM * self.opened + self.informational;
        if self.useless > Self::USELESS_BASE + streams {
            return Err(SessionError::limit("too many useless frames"));
        }
        Ok(())
    }
}
