//! Pumps a request's body from its caller into a stream.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use anp_auth::header::BodyDigest;
use anp_tunnel::{SendStream, Tunnel};
use anpx::{Fields, ResetCode, StreamError, session::End};
use bytes::Bytes;

use super::{Downstream, Failure, Piece, replay::Replay};
use crate::{error::ProxyError, policy::Pace};

/// So much of a body travels with its head, where it came with it.
const FIRST: usize = 16 << 10;

/// Why an upload ended early.
#[derive(Debug)]
pub(crate) enum UploadError {
    /// The caller left, or sent what is no valid body.
    Caller(Failure),
    /// The stream is over; its other half says why.
    Stream,
}

impl From<StreamError> for UploadError {
    fn from(_: StreamError) -> Self {
        Self::Stream
    }
}

/// A request's body on its way.
///
/// The source is asked for more only when the stream can take it, so what a slow app does not read
/// stays with the caller.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Nothing is left to read.
    whole: bool,
    replay: Replay,
    trailers: Option<Fields>,
    /// The caller waits: for 100 (Continue), which only the app can give, or for 101.
    held: bool,
    send: Option<SendStream>,
    /// The stream's half has its end.
    done: bool,
    /// The caller's next bytes are what everything waits for.
    awaits_caller: bool,
    /// Apart, since few have any: an upload of more than 128 bytes is moved by calls of memcpy.
    limits: Option<Box<Limits>>,
}

/// What a body may be.
#[derive(Debug)]
struct Limits {
    /// Bytes that the caller may still send.
    left: u64,
    /// What holds them back.
    pace: Option<Pace>,
    /// What its caller has signed of it.
    signed: Option<Signed>,
    /// Counts the bytes that came, where somebody asks.
    counter: Option<Arc<AtomicU64>>,
}

/// A body whose digest is signed.
#[derive(Debug)]
struct Signed {
    /// Of what came.
    digest: BodyDigest,
    /// What it must come to.
    expected: String,
    /// Bytes that its length promises and that have not come. An app that has so many has all of it,
    /// whether the caller has said that it is over or not (HTTP/2 says it apart).
    left: Option<u64>,
}

impl Upload {
    /// The body of a request. `whole` where it has none; `held` keeps it with the caller until
    /// [`Upload::release`].
    pub(crate) fn new(whole: bool, held: bool) -> Self {
        Self {
            whole,
            replay: Replay::default(),
            trailers: None,
            held: held && !whole,
            send: None,
            done: false,
            awaits_caller: false,
            limits: None,
        }
    }

    /// Lets the body have at most `bytes`.
    pub(crate) fn limit(&mut self, bytes: u64) {
        if let Some(limits) = self.limits() {
            limits.left = bytes;
        }
    }

    /// Counts its bytes there, as they come.
    pub(crate) fn counted_by(&mut self, counter: &Arc<AtomicU64>) {
        if let Some(limits) = self.limits() {
            limits.counter = Some(counter.clone());
        }
    }

    /// Moves no faster than `pace`.
    pub(crate) fn held_to(&mut self, pace: Option<Pace>) {
        if pace.is_some()
            && let Some(limits) = self.limits()
        {
            limits.pace = pace;
        }
    }

    /// Must have this `Content-Digest` once it is whole, which it is after `length` bytes where that is
    /// known.
    ///
    /// # Errors
    /// 400 where it is whole, and another.
    pub(crate) fn expect_digest(
        &mut self,
        digest: String,
        length: Option<u64>,
    ) -> Result<(), Failure> {
        if let Some(limits) = self.limits() {
            limits.signed = Some(Signed {
                digest: BodyDigest::default(),
                expected: digest,
                left: length,
            });
        }
        self.check_digest()
    }

    /// True while it is, or may still turn out to be, another body than the one that was signed.
    pub(crate) fn is_unproven(&self) -> bool {
        let limits = self.limits.as_ref();
        limits.is_some_and(|limits| limits.signed.is_some())
    }

    /// The limits of a body, if there is one.
    fn limits(&mut self) -> Option<&mut Limits> {
        let none = || {
            Box::new(Limits {
                left: u64::MAX,
                pace: None,
                signed: None,
                counter: None,
            })
        };
        (!self.whole).then(|| &mut **self.limits.get_or_insert_with(none))
    }

    /// Takes what the caller has sent already, so that a small body travels with its head.
    ///
    /// # Errors
    /// The caller left, or sent what is no valid body.
    pub(crate) async fn prefetch<D: Downstream>(&mut self, down: &mut D) -> Result<(), Failure> {
        if self.whole || self.held {
            return Ok(());
        }
        poll_fn(|cx| {
            while !self.whole && self.replay.len() < FIRST {
                match self.poll_body(down, cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => break,
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// The first bytes of the body, as many as go with the head, and whether they are all of it.
    pub(crate) fn first(&mut self, tunnel: &Tunnel) -> (Bytes, End) {
        if self.replay.is_sent() {
            return (Bytes::new(), End::from(self.is_sent()));
        }
        self.next(tunnel.first_capacity())
    }

    /// The stream that the first bytes went to.
    pub(crate) fn attach(&mut self, send: SendStream, end: End) {
        self.done = end.is_end();
        self.send = Some(send);
    }

    /// Prepares to send the body again, to another stream; false where that cannot be.
    pub(crate) fn rewind(&mut self) -> bool {
        let committed = self.send.as_ref().is_some_and(SendStream::is_committed);
        if committed || !self.replay.rewind() {
            return false;
        }
        self.send = None;
        true
    }

    /// The app asks for the body, or accepted the upgrade.
    pub(crate) fn release(&mut self) {
        self.held = false;
    }

    /// Ends the half without what the caller has not sent: an upgrade that was not accepted.
    pub(crate) fn end(&mut self) {
        self.held = false;
        self.whole = true;
    }

    /// No byte is needed twice once a response was read.
    pub(crate) fn forget(&mut self) {
        self.replay.forget();
    }

    /// True where there is no body.
    pub(crate) fn is_empty(&self) -> bool {
        self.whole
    }

    /// True while the caller waits to be asked.
    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    /// True once nothing is left to send.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// True where the caller's next bytes are what the request waits for.
    pub(crate) fn awaits_caller(&self) -> bool {
        self.awaits_caller
    }

    /// The caller left: tells the app.
    pub(crate) fn cancel(&mut self) {
        if let Some(send) = &mut self.send {
            send.reset(ResetCode::CANCELLED);
        }
    }

    /// Sends as much as can be sent. Ready once all was.
    pub(crate) fn poll<D: Downstream>(
        &mut self,
        down: &mut D,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), UploadError>> {
        loop {
            if self.done {
                return Poll::Ready(Ok(()));
            }
            if self.held {
                return Poll::Pending;
            }
            let Some(send) = &mut self.send else {
                return Poll::Ready(Err(UploadError::Stream));
            };
            if !self.replay.is_sent() {
                let most = ready!(send.poll_capacity(cx))?;
                let (data, end) = self.next(most);
                self.send_data(data, end)?;
            } else if !self.whole {
                ready!(send.poll_capacity(cx))?;
                if send.is_committed() {
                    self.replay.forget();
                }
                if let Some(limits) = &mut self.limits
                    && let Some(pace) = &mut limits.pace
                    && pace.poll(cx).is_pending()
                {
                    down.put_off();
                    return Poll::Pending;
                }
                ready!(self.poll_body(down, cx)).map_err(UploadError::Caller)?;
            } else if let Some(trailers) = self.trailers.clone() {
                send.send_trailers(trailers)?;
                self.done = true;
            } else {
                self.send_data(Bytes::new(), End::Yes)?;
            }
        }
    }

    fn next(&mut self, most: usize) -> (Bytes, End) {
        let data = self.replay.take(most);
        (data, End::from(self.is_sent()))
    }

    /// True where nothing follows what was sent.
    fn is_sent(&self) -> bool {
        self.whole && self.trailers.is_none() && self.replay.is_sent()
    }

    fn send_data(&mut self, data: Bytes, end: End) -> Result<(), StreamError> {
        if let Some(send) = &mut self.send {
            send.send_data(data, end)?;
        }
        self.done = end.is_end();
        Ok(())
    }

    /// Reads the next piece of the body.
    fn poll_body<D: Downstream>(
        &mut self,
        down: &mut D,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Failure>> {
        self.awaits_caller = true;
        let piece = ready!(down.poll_body(cx))?;
        self.awaits_caller = false;
        match piece {
            Piece::Data(data) => {
                if let Some(limits) = &mut self.limits {
                    if let Some(counter) = &limits.counter {
                        counter.fetch_add(data.len() as u64, Relaxed);
                    }
                    match limits.left.checked_sub(data.len() as u64) {
                        Some(left) => limits.left = left,
                        None => {
                            if let Some(send) = &mut self.send {
                                send.reset(ResetCode::TOO_LARGE);
                            }
                            return Poll::Ready(Err(ProxyError::BodyTooLarge.into()));
                        }
                    }
                    if let Some(pace) = &mut limits.pace {
                        pace.took(data.len());
                    }
                    if let Some(signed) = &mut limits.signed {
                        signed.digest.update(&data);
                        let came = data.len() as u64;
                        signed.left = signed.left.map(|left| left.saturating_sub(came));
                    }
                }
                self.replay.push(data);
                self.whole = down.is_body_whole();
            }
            Piece::Trailers(trailers) => {
                self.trailers = (!trailers.is_empty()).then_some(trailers);
                self.whole = true;
            }
            Piece::End => self.whole = true,
        }
        Poll::Ready(self.check_digest())
    }

    /// Breaks off what turned out to be another body than the signed one, before its end is sent.
    fn check_digest(&mut self) -> Result<(), Failure> {
        let whole = self.whole;
        let Some(limits) = &mut self.limits else {
            return Ok(());
        };
        let is_over = |signed: &mut Signed| whole || signed.left == Some(0);
        let Some(signed) = limits.signed.take_if(is_over) else {
            return Ok(());
        };
        let Signed {
            digest, expected, ..
        } = signed;
        if digest.is(&expected) {
            return Ok(());
        }
        // It never comes to be proven.
        let (digest, left) = (BodyDigest::default(), None);
        limits.signed = Some(Signed {
            digest,
            expected,
            left,
        });
        if let Some(send) = &mut self.send {
            send.reset(ResetCode::CANCELLED);
        }
        Err(ProxyError::BadRequest("the body is not the one that was signed").into())
    }
}
