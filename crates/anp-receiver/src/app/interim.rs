//! Informational heads on their way back, and the body that may wait for one.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use anp_tunnel::SendStream;
use anpx::{Fields, RequestHead, ResponseHead, StreamError};
use tokio::time::{Sleep, sleep};

/// How long an app may take to ask for a body that waits for it. A client that sent
/// `expect: 100-continue` should not wait for ever (RFC 9110 section 10.1.1).
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

/// What of informational heads concerns one exchange.
pub(crate) struct Interim {
    /// The caller waits for a 100, and has not been sent one.
    expected: bool,
    /// Until when the caller's body waits for the app's 100.
    patience: Option<Pin<Box<Sleep>>>,
    /// The app sent an informational head.
    heard: bool,
}

impl Interim {
    /// For the request `head`; `waits` says that its body has not come.
    pub(crate) fn new(head: &RequestHead, waits: bool) -> Self {
        let expected = head.expects_continue();
        Self {
            expected,
            patience: (expected && waits).then(|| Box::pin(sleep(CONTINUE_PATIENCE))),
            heard: false,
        }
    }

    /// True where the app sent an informational head.
    pub(crate) fn is_heard(&self) -> bool {
        self.heard
    }

    /// Asks for the body in the app's place once the app had its time: many know nothing of
    /// `expect` and wait for the body, for which the caller waits to be asked. `settled` says that
    /// the body or the final head has come.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        settled: bool,
        response: &mut SendStream,
    ) -> Result<(), StreamError> {
        let Some(patience) = &mut self.patience else {
            return Ok(());
        };
        if settled {
            self.patience = None;
        } else if let Poll::Ready(()) = patience.as_mut().poll(cx) {
            self.patience = None;
            self.expected = false;
            let headers = Fields::default();
            let status = 100;
            response.inform(&ResponseHead { status, headers })?;
        }
        Ok(())
    }

    /// Passes on an informational head, unless it is a 100 that nobody waits for. What exceeds the
    /// limits of the wire (ANPX 3.2) the session leaves out.
    pub(crate) fn pass(
        &mut self,
        head: &ResponseHead,
        response: &mut SendStream,
    ) -> Result<(), StreamError> {
        self.heard = true;
        if head.status == 100 {
            self.patience = None;
            if !std::mem::take(&mut self.expected) {
                return Ok(());
            }
        }
        response.inform(head)
    }
}
