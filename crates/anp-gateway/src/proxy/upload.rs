//! Pumps a request's body from its caller into a stream.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use anp_tunnel::{SendStream, Tunnel};
use anpx::{Fields, ResetCode, StreamError, session::End};
use bytes::Bytes;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;

use super::{replay::Replay, request};
use crate::{conn::Watch, error::ProxyError};

/// Why an upload ended early.
#[derive(Debug)]
pub(crate) enum UploadError {
    /// The caller broke off, or sent what is no valid body.
    Caller(ProxyError),
    /// The stream is over.
    Stream,
}

impl From<StreamError> for UploadError {
    /// The stream's other half says why.
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
    watch: Arc<Watch>,
    /// `None` once all of it was read.
    body: Option<Incoming>,
    replay: Replay,
    trailers: Option<Fields>,
    /// The caller waits for 100 (Continue), which only the app can give.
    held: bool,
    send: Option<SendStream>,
    /// The stream's half has its end.
    done: bool,
}

impl Upload {
    /// The body of a request. `held` keeps it with the caller until [`Upload::release`].
    pub(crate) fn new(watch: Arc<Watch>, body: Incoming, held: bool) -> Self {
        let whole = body.is_end_stream();
        Self {
            watch,
            body: (!whole).then_some(body),
            replay: Replay::default(),
            trailers: None,
            held: held && !whole,
            send: None,
            done: false,
        }
    }

    /// Takes what the caller has sent already, so that a small body travels with its head.
    ///
    /// # Errors
    /// The caller broke off.
    pub(crate) async fn prefetch(&mut self) -> Result<(), ProxyError> {
        if self.body.is_none() || self.held {
            return Ok(());
        }
        // hyper reads the first piece of a body along with the head, so one look is enough.
        poll_fn(|cx| match self.poll_body(cx) {
            Poll::Pending => Poll::Ready(Ok(())),
            Poll::Ready(read) => Poll::Ready(read),
        })
        .await
    }

    /// The first bytes of the body, as many as go with the head, and whether they are all of it.
    pub(crate) fn first(&mut self, tunnel: &Tunnel) -> (Bytes, End) {
        if self.replay.is_sent() {
            return (Bytes::new(), End::from(self.is_whole()));
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

    /// The app asks for the body.
    pub(crate) fn release(&mut self) {
        self.held = false;
    }

    /// True while the caller waits to be asked.
    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    /// True once nothing is left to send.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// Sends as much as can be sent. Ready once all was.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UploadError>> {
        loop {
            if self.done || self.held {
                return if self.done {
                    Poll::Ready(Ok(()))
                } else {
                    Poll::Pending
                };
            }
            let Some(send) = &mut self.send else {
                return Poll::Ready(Err(UploadError::Stream));
            };
            if !self.replay.is_sent() {
                let most = ready!(send.poll_capacity(cx))?;
                let (data, end) = self.next(most);
                self.send_data(data, end)?;
            } else if self.body.is_some() {
                ready!(send.poll_capacity(cx))?;
                if send.is_committed() {
                    self.replay.forget();
                }
                ready!(self.poll_body(cx)).map_err(UploadError::Caller)?;
            } else if let Some(trailers) = self.trailers.clone() {
                send.send_trailers(trailers)?;
                self.done = true;
            } else {
                self.send_data(Bytes::new(), End::Yes)?;
            }
        }
    }

    /// Pumps to the end, after the response's head.
    pub(crate) async fn run(mut self) {
        // No byte is needed twice once a response was read.
        self.replay.forget();
        let ended = poll_fn(|cx| self.poll(cx)).await;
        if let (Err(UploadError::Caller(_)), Some(send)) = (ended, &mut self.send) {
            send.reset(ResetCode::CANCELLED);
        }
    }

    fn next(&mut self, most: usize) -> (Bytes, End) {
        let data = self.replay.take(most);
        (data, End::from(self.is_whole()))
    }

    /// True where nothing follows what was sent.
    fn is_whole(&self) -> bool {
        self.body.is_none() && self.trailers.is_none() && self.replay.is_sent()
    }

    fn send_data(&mut self, data: Bytes, end: End) -> Result<(), StreamError> {
        if let Some(send) = &mut self.send {
            send.send_data(data, end)?;
        }
        self.done = end.is_end();
        Ok(())
    }

    /// Reads the next frame of the body.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(Ok(()));
        };
        self.watch.set_awaits_caller(true);
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        self.watch.set_awaits_caller(false);
        let Some(frame) = frame else {
            self.body = None;
            return Poll::Ready(Ok(()));
        };
        let broken = |_| ProxyError::BadRequest("the request's body is broken");
        let frame = frame.map_err(broken)?;
        if body.is_end_stream() {
            self.body = None;
        }
        Poll::Ready(self.take(frame))
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<(), ProxyError> {
        match frame.into_data() {
            Ok(data) => self.replay.push(data),
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    self.trailers = Some(request::trailers(&trailers)?);
                }
            }
        }
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.body.is_some() {
            self.watch.set_unread();
        }
    }
}

/// An upload that goes on while the response is sent. Dropped, it ends.
#[derive(Debug)]
pub(crate) struct Running(Option<tokio::task::JoinHandle<()>>);

impl Running {
    /// Lets `upload` go on by itself.
    pub(crate) fn start(upload: Upload) -> Self {
        struct Half(Arc<Watch>);
        impl Drop for Half {
            fn drop(&mut self) {
                self.0.half_over();
            }
        }
        let watch = upload.watch.clone();
        watch.add_half();
        let half = Half(watch);
        Self(Some(tokio::spawn(async move {
            let _half = half;
            upload.run().await;
        })))
    }

    /// The response is whole: the upload ends when the app has what it wants.
    pub(crate) fn detach(&mut self) {
        self.0 = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
