//! The body of a response on its way from the tunnel, held back where it must be.

use std::task::{Context, Poll, ready};

use anp_tunnel::{Part, RecvStream};
use anpx::StreamError;

use crate::policy::Pace;

/// What follows a response's head.
#[derive(Debug)]
pub(crate) struct Download {
    recv: RecvStream,
    pace: Option<Box<Pace>>,
}

impl Download {
    /// What `recv` has, at the pace of its policy.
    pub(crate) fn new(recv: RecvStream, pace: Option<Pace>) -> Self {
        Self {
            recv,
            pace: pace.map(Box::new),
        }
    }

    /// The next part; see [`RecvStream::poll_part`].
    ///
    /// # Errors
    /// The response broke off.
    pub(crate) fn poll_part(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Part, StreamError>>> {
        let Some(pace) = &mut self.pace else {
            return self.recv.poll_part(cx);
        };
        ready!(pace.poll(cx));
        let part = ready!(self.recv.poll_part(cx));
        if let Some(Ok(Part::Data(data, _))) = &part {
            pace.took(data.len());
        }
        Poll::Ready(part)
    }

    /// True while the gateway itself holds it back: that nothing moves is nobody's fault.
    pub(crate) fn is_held_back(&self) -> bool {
        self.pace.as_ref().is_some_and(|pace| pace.waits())
    }
}
