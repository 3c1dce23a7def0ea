//! The body of a response on its way from the tunnel, and what its policy does to it.

use std::task::{Context, Poll, ready};

use anp_tunnel::{Part, RecvStream};
use anpx::{StreamError, session::End};
use bytes::Bytes;

use super::comments::Comments;
use crate::policy::Pace;

/// What follows a response's head.
#[derive(Debug)]
pub(crate) struct Download {
    recv: RecvStream,
    policy: Option<Box<Policed>>,
}

#[derive(Debug)]
struct Policed {
    pace: Option<Pace>,
    comments: Option<Comments>,
    /// The part given last was a comment.
    ours: bool,
}

impl Download {
    /// What `recv` has.
    pub(crate) fn new(recv: RecvStream) -> Self {
        Self { recv, policy: None }
    }

    /// The same, no faster than `pace` and with `comments` in between.
    #[must_use]
    pub(crate) fn policed(mut self, pace: Option<Pace>, comments: Option<Comments>) -> Self {
        if pace.is_some() || comments.is_some() {
            self.policy = Some(Box::new(Policed {
                pace,
                comments,
                ours: false,
            }));
        }
        self
    }

    /// The next part; see [`RecvStream::poll_part`].
    ///
    /// # Errors
    /// The response broke off.
    pub(crate) fn poll_part(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Part, StreamError>>> {
        match &mut self.policy {
            None => self.recv.poll_part(cx),
            Some(policy) => policy.poll_part(&mut self.recv, cx),
        }
    }

    /// True while the gateway itself holds it back: that nothing moves is nobody's fault.
    pub(crate) fn is_held_back(&self) -> bool {
        let pace = self.policy.as_ref().and_then(|p| p.pace.as_ref());
        pace.is_some_and(Pace::waits)
    }

    /// True where the part given last was the gateway's: nothing moved behind it.
    pub(crate) fn is_ours(&self) -> bool {
        self.policy.as_ref().is_some_and(|policy| policy.ours)
    }
}

impl Policed {
    fn poll_part(
        &mut self,
        recv: &mut RecvStream,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Part, StreamError>>> {
        if let Some(pace) = &mut self.pace {
            ready!(pace.poll(cx));
        }
        self.ours = false;
        loop {
            match recv.poll_part(cx) {
                Poll::Ready(Some(Ok(Part::Data(data, end)))) => {
                    let data = self.took(data);
                    match (data.is_empty(), end) {
                        // Data is never empty.
                        (true, End::Yes) => return Poll::Ready(None),
                        (true, End::No) => {}
                        (false, _) => return Poll::Ready(Some(Ok(Part::Data(data, end)))),
                    }
                }
                Poll::Pending => {
                    let Some(comments) = &mut self.comments else {
                        return Poll::Pending;
                    };
                    let comment = ready!(comments.poll(cx));
                    self.ours = true;
                    return Poll::Ready(Some(Ok(Part::Data(comment, End::No))));
                }
                other => return other,
            }
        }
    }

    fn took(&mut self, data: Bytes) -> Bytes {
        if let Some(pace) = &mut self.pace {
            pace.took(data.len());
        }
        match &mut self.comments {
            Some(comments) => comments.saw(data),
            None => data,
        }
    }
}
