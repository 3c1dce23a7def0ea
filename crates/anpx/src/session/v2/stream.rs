//! One stream: two halves, each a head, DATA and an end (ANPX 3.2).

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    body_queue::BodyQueue,
    flow::{RecvFlow, SendFlow},
    order::Turn,
};
use crate::{Fields, ResetCode, ResponseHead, StreamError, frame::Frame};

/// A stream as one side sees it.
///
/// ```text
///              open / REQUEST read
///                     │
///                     ▼          RESET sent or read, or the session ended
///    ┌────────────── open ─────────────────────────────┐
///    │ recv.ended          send.ended                   │
///    ▼                         ▼                        ▼
///  half closed (remote)   half closed (local)        broken (error set)
///    │ send.ended              │ recv.ended             │
///    └────────► whole ◄────────┘                        │
///                │                                      │
///                └── released by the application, and everything written ──► gone
/// ```
/// The two halves are independent: a gateway may read a whole response while it still sends the
/// request. An entry outlives both ends until the application released it, so that bytes which
/// wait for a reader stay, and so that a receiver's broken stream holds its place until the app's
/// call has ended (ANPX 3.8).
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) send: SendHalf,
    pub(super) recv: RecvHalf,
    /// Set once the stream broke.
    pub(super) error: Option<StreamError>,
    /// The application is done with it.
    pub(super) released: bool,
    /// The REQUEST has a protocol token.
    pub(super) upgrade: bool,
    /// A WINDOW or a RESPONSE crossed the wire: the app may have the request (ANPX 3.8).
    pub(super) committed: bool,
    /// [`crate::session::Event::Readable`] waits to be taken.
    pub(super) readable_queued: bool,
    /// [`crate::session::Event::Writable`] waits to be taken.
    pub(super) writable_queued: bool,
}

/// The outgoing half.
#[derive(Debug)]
pub(super) struct SendHalf {
    /// The peer's window.
    pub(super) window: SendFlow,
    /// Informational heads, then the final one.
    pub(super) informational: VecDeque<Frame>,
    /// Informational heads sent so far.
    pub(super) informational_sent: u8,
    /// The request's head or the final response head.
    pub(super) head: HeadState,
    /// The one unsent DATA frame (ANPX 3.4).
    pub(super) data: Option<Frame>,
    /// TRAILERS behind it.
    pub(super) trailers: Option<Frame>,
    /// END_STREAM is queued or written.
    pub(super) ended: bool,
    /// RESET NO_ERROR follows the last frame.
    pub(super) then_reset: bool,
    pub(super) turn: Turn,
}

/// Where the head of the outgoing half is.
#[derive(Debug)]
pub(super) enum HeadState {
    /// Receiver: the app has not answered yet.
    None,
    /// Waits to be written.
    Queued(Frame),
    /// Written.
    Written,
}

/// The incoming half.
#[derive(Debug)]
pub(super) struct RecvHalf {
    pub(super) flow: RecvFlow,
    /// A WINDOW for this stream is queued.
    pub(super) credit_queued: bool,
    pub(super) informational: VecDeque<ResponseHead>,
    pub(super) informational_seen: u8,
    /// Gateway: the final head until it is read.
    pub(super) response: Option<ResponseHead>,
    /// A head that body bytes may follow was read from the wire.
    pub(super) head_seen: bool,
    pub(super) body: BodyQueue,
    pub(super) trailers: Option<Fields>,
    /// END_STREAM was read: the half is whole.
    pub(super) ended: bool,
    /// The reader was told of the end.
    pub(super) end_told: bool,
    /// What is left of the announced content-length.
    pub(super) length_left: Option<u64>,
    /// Gateway: the response has no body whatever it announces: HEAD, 204, 304.
    pub(super) bodyless: bool,
}

impl Stream {
    pub(super) fn new(recv_window: u32, send_window: u32) -> Self {
        Self {
            send: SendHalf {
                window: SendFlow::new(send_window),
                informational: VecDeque::new(),
                informational_sent: 0,
                head: HeadState::None,
                data: None,
                trailers: None,
                ended: false,
                then_reset: false,
                turn: Turn::None,
            },
            recv: RecvHalf {
                flow: RecvFlow::new(recv_window),
                credit_queued: false,
                informational: VecDeque::new(),
                informational_seen: 0,
                response: None,
                head_seen: false,
                body: BodyQueue::default(),
                trailers: None,
                ended: false,
                end_told: false,
                length_left: None,
                bodyless: false,
            },
            error: None,
            released: false,
            upgrade: false,
            committed: false,
            readable_queued: false,
            writable_queued: false,
        }
    }

    /// Breaks the stream: what this side had queued is dropped, and so is what waits for the
    /// reader, unless the half is whole already.
    pub(super) fn fail(&mut self, error: StreamError) {
        if self.error.is_none() {
            self.error = Some(error);
        }
        self.send.clear();
        if !self.recv.ended {
            self.recv.body.clear();
            self.recv.informational.clear();
            self.recv.response = None;
        }
    }

    /// True where both halves ended or the stream broke: the wire knows it no more.
    pub(super) fn is_closed(&self) -> bool {
        self.error.is_some() || self.recv.ended && self.send.ended && self.send.is_flushed()
    }

    /// True where nothing is left of it for either side.
    pub(super) fn is_gone(&self) -> bool {
        self.released && self.is_closed() && !self.send.then_reset
    }
}

impl SendHalf {
    /// True where nothing waits to be written.
    pub(super) fn is_flushed(&self) -> bool {
        !self.has_head() && self.data.is_none() && self.trailers.is_none()
    }

    /// True where a head waits to be written.
    pub(super) fn has_head(&self) -> bool {
        matches!(self.head, HeadState::Queued(_)) || !self.informational.is_empty()
    }

    pub(super) fn is_head_written(&self) -> bool {
        matches!(self.head, HeadState::Written)
    }

    /// True once this side answered, whether or not the head was written yet.
    pub(super) fn has_answered(&self) -> bool {
        !matches!(self.head, HeadState::None)
    }

    /// The next DATA or TRAILERS to be written.
    pub(super) fn pop_body(&mut self) -> Option<Frame> {
        self.data.take().or_else(|| self.trailers.take())
    }

    /// The next head to be written.
    pub(super) fn pop_head(&mut self) -> Option<Frame> {
        if let Some(frame) = self.informational.pop_front() {
            return Some(frame);
        }
        if !matches!(self.head, HeadState::Queued(_)) {
            return None;
        }
        match std::mem::replace(&mut self.head, HeadState::Written) {
            HeadState::Queued(frame) => Some(frame),
            HeadState::None | HeadState::Written => None,
        }
    }

    fn clear(&mut self) {
        self.informational.clear();
        if let HeadState::Queued(_) = self.head {
            self.head = HeadState::None;
        }
        self.data = None;
        self.trailers = None;
        self.then_reset = false;
    }
}

impl RecvHalf {
    /// Notes what a head announces of its body, and takes the body bytes inside it.
    ///
    /// # Errors
    /// The code to reset the stream with: the body is unlike its content-length.
    pub(super) fn begin(
        &mut self,
        headers: &Fields,
        body: Bytes,
        end: bool,
    ) -> Result<(), ResetCode> {
        self.head_seen = true;
        let length = content_length(headers).map_err(|()| ResetCode::PROTOCOL)?;
        // Responses to HEAD and 304 announce a length and have no body (RFC 9110 section 8.6).
        self.length_left = if self.bodyless { Some(0) } else { length };
        self.push(body, end)
    }

    /// Takes body bytes.
    ///
    /// # Errors
    /// As [`RecvHalf::begin`].
    pub(super) fn push(&mut self, body: Bytes, end: bool) -> Result<(), ResetCode> {
        if let Some(left) = &mut self.length_left {
            let len = u64::try_from(body.len()).unwrap_or(u64::MAX);
            *left = left.checked_sub(len).ok_or(ResetCode::PROTOCOL)?;
            if end && *left > 0 {
                return Err(ResetCode::PROTOCOL);
            }
        }
        self.body.push(body);
        self.ended |= end;
        Ok(())
    }

    /// True where the half is whole and nothing of it waits for the reader.
    pub(super) fn is_drained(&self) -> bool {
        self.ended
            && self.body.is_empty()
            && self.trailers.is_none()
            && self.response.is_none()
            && self.informational.is_empty()
    }
}

/// The announced length of a body, `None` without one.
///
/// # Errors
/// Not a number, or two that differ (RFC 9110 section 8.6).
fn content_length(headers: &Fields) -> Result<Option<u64>, ()> {
    let mut length = None;
    for value in headers.get_all("content-length") {
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(value)
            .ok()
            .and_then(|v| v.parse::<u64>().ok());
        let number = number.filter(|_| digits).ok_or(())?;
        if length.is_some_and(|l| l != number) {
            return Err(());
        }
        length = Some(number);
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_length_is_one_number() {
        let of = |values: &[&str]| {
            let fields = Fields::from_pairs(values.iter().map(|v| ("content-length", *v))).unwrap();
            content_length(&fields)
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["12"]), Ok(Some(12)));
        assert_eq!(of(&["12", "12"]), Ok(Some(12)));
        for bad in [
            &["12", "13"][..],
            &["+1"],
            &["1, 1"],
            &[""],
            &["18446744073709551616"],
        ] {
            assert_eq!(of(bad), Err(()), "{bad:?}");
        }
    }
}
