//! One HTTP exchange of a version-1 session.

use std::time::Instant;

use super::{incoming::Incoming, outgoing::Outgoing};
use crate::StreamError;

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) outgoing: Outgoing,
    pub(super) incoming: Incoming,
    /// Why the application's half of the work ended before its time.
    pub(super) error: Option<StreamError>,
    /// The request is not answered yet.
    pub(super) place: bool,
    /// The application is done.
    pub(super) released: bool,
    /// Gateway: the answer to come is not wanted. Receiver: the request to come is not wanted.
    pub(super) dropping: bool,
    /// Receiver: the application has the stream. Gateway: always.
    pub(super) accepted: bool,
    /// The request's method is HEAD.
    pub(super) to_head: bool,
    /// The stream waits in the session's turns.
    pub(super) queued: bool,
    /// When the message is given up.
    pub(super) deadline: Option<Instant>,
    /// Events not yet taken.
    pub(super) pending: Pending,
}

impl Stream {
    pub(super) fn new(outgoing: Outgoing) -> Self {
        Self {
            outgoing,
            incoming: Incoming::default(),
            error: None,
            place: true,
            released: false,
            dropping: false,
            accepted: false,
            to_head: false,
            queued: false,
            deadline: None,
            pending: Pending::default(),
        }
    }
}

/// Which events of a stream wait.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pending {
    pub(super) readable: bool,
    pub(super) writable: bool,
}
