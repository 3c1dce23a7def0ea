//! Moves the two bodies of an exchange, each as fast as its reader takes it.

use std::{
    future::{Future as _, poll_fn},
    io::Write as _,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use anp_http1::fields::put_trailers;
use anp_tunnel::Part;
use anpx::{Fields, StreamError, session};
use bytes::{BufMut, Bytes};
use tokio::{io::AsyncWrite as _, time::Instant};

use super::{
    caller::{DISCARDS, Http1, put_off_lingering},
    response::Framing,
};
use crate::{
    conn::{LINGER_MOST, LINGER_PAUSE},
    handshake::Becomes,
    proxy::{Download, Downstream, Exchange, Failure, Piece, Upload, UploadError},
    stop::{Step, Stop},
    tls::Socket,
};

/// How a request leaves its connection.
#[derive(Debug)]
pub(super) enum End {
    /// Another request may follow.
    Next,
    /// Nobody is there, or there is nothing to say: closed as it is.
    Quiet,
    /// Closed once the caller had the time to read the answer.
    Linger,
    /// Closed so that the caller sees a broken message.
    Reset,
    /// It speaks HTTP/2.
    Http2,
    /// Something else goes on.
    Becomes(Becomes),
}

/// How an exchange went on after its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The response is whole and went out.
    Complete,
    /// The caller left.
    Gone,
    /// What was sent is not whole, and must not look so.
    Broken,
}

/// What became of an upload when it was last looked at.
enum Up {
    GoesOn,
    Over,
    Failed(Over),
}

impl<IO: Socket> Http1<IO> {
    /// Sends what is queued and then what `recv` has, while `upload` goes on.
    pub(super) async fn pump(
        &mut self,
        mut recv: Option<Download>,
        upload: &mut Upload,
        framing: Framing,
        exchange: &mut Exchange,
    ) -> Over {
        let mut uploading = !upload.is_done() && !upload.is_held();
        poll_fn(|cx| {
            if uploading {
                match self.poll_upload(upload, cx) {
                    Up::GoesOn => {}
                    Up::Over => uploading = false,
                    Up::Failed(over) => return Poll::Ready(over),
                }
            }
            loop {
                let Ok(waits) = self.fill(&mut recv, framing, exchange, cx) else {
                    return Poll::Ready(Over::Broken);
                };
                let flushed = self.conn.poll_flush(cx);
                if flushed.is_ready() {
                    self.disregarded();
                }
                match flushed {
                    Poll::Ready(Ok(())) if recv.is_none() => return Poll::Ready(Over::Complete),
                    Poll::Ready(Ok(())) if waits => break,
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Over::Gone),
                    Poll::Pending => break,
                }
            }
            self.poll_ends(cx)
        })
        .await
    }

    /// Goes on with an upload after its response, until it is whole or the app refuses the rest.
    pub(super) async fn finish_upload(&mut self, upload: &mut Upload) -> Over {
        if upload.is_done() || upload.is_held() {
            return Over::Complete;
        }
        poll_fn(|cx| match self.poll_upload(upload, cx) {
            Up::GoesOn => self.poll_ends(cx),
            Up::Over => Poll::Ready(Over::Complete),
            Up::Failed(over) => Poll::Ready(over),
        })
        .await
    }

    /// Reads and discards what the app refused of a request's body, so that a caller that first sends
    /// everything gets to read the answer, and the connection can go on behind it.
    ///
    /// # Errors
    /// How the connection ends instead, where the body did not in its time.
    pub(super) async fn discard_rest(&mut self, stop: &Stop) -> Result<(), End> {
        let end = Instant::now() + LINGER_MOST;
        self.deadline.set(LINGER_PAUSE);
        // A request that was answered is no reason for a gateway that stops to wait.
        let mut closes_idle = pin!(stop.reached(Step::CloseIdle));
        poll_fn(|cx| {
            let mut reads = 0;
            while reads < DISCARDS {
                match self.poll_body(cx) {
                    Poll::Ready(Ok(Piece::Data(_))) if !self.is_body_whole() => reads += 1,
                    Poll::Ready(Ok(_)) => return Poll::Ready(Ok(())),
                    Poll::Ready(Err(Failure::Gone)) => return Poll::Ready(Err(End::Quiet)),
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(End::Linger)),
                    Poll::Pending => break,
                }
            }
            put_off_lingering(&mut self.deadline, end, reads, stop, cx);
            if closes_idle.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(End::Linger));
            }
            // The caller had the time that lingering would give it.
            self.deadline.poll(cx).map(|()| Err(End::Quiet))
        })
        .await
    }

    /// Moves raw bytes both ways until both are over.
    pub(super) async fn pump_raw(
        &mut self,
        recv: Download,
        upload: &mut Upload,
        exchange: &mut Exchange,
    ) -> Over {
        let mut recv = Some(recv);
        let (mut uploading, mut shut) = (true, false);
        poll_fn(|cx| {
            if uploading {
                match self.poll_upload(upload, cx) {
                    Up::GoesOn => {}
                    Up::Over => uploading = false,
                    Up::Failed(over) => return Poll::Ready(over),
                }
            }
            loop {
                let Ok(waits) = self.fill(&mut recv, Framing::Length, exchange, cx) else {
                    upload.cancel();
                    return Poll::Ready(Over::Broken);
                };
                match self.conn.poll_flush(cx) {
                    Poll::Ready(Ok(())) if recv.is_none() && !shut => {
                        match Pin::new(self.conn.io_mut()).poll_shutdown(cx) {
                            Poll::Ready(Ok(())) => shut = true,
                            Poll::Ready(Err(_)) => return Poll::Ready(Over::Gone),
                            Poll::Pending => break,
                        }
                    }
                    Poll::Ready(Ok(())) if waits || shut => break,
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Over::Gone),
                    Poll::Pending => break,
                }
            }
            if shut && !uploading {
                return Poll::Ready(Over::Complete);
            }
            self.poll_late(cx).map(|()| {
                upload.cancel();
                Over::Broken
            })
        })
        .await
    }

    /// Queues what `recv` has and there is room for; `recv` is `None` once that was all. True where
    /// there is room for more.
    ///
    /// # Errors
    /// The response broke off.
    fn fill(
        &mut self,
        recv: &mut Option<Download>,
        framing: Framing,
        exchange: &mut Exchange,
        cx: &mut Context<'_>,
    ) -> Result<bool, StreamError> {
        while let Some(from) = recv
            && self.conn.has_room()
        {
            match from.poll_part(cx) {
                Poll::Ready(Some(Ok(Part::Data(data, end)))) => {
                    exchange.sent(data.len());
                    if from.is_ours() {
                        self.disregard();
                    }
                    self.put_data(data, end, framing);
                    if end.is_end() {
                        *recv = None;
                    }
                }
                Poll::Ready(Some(Ok(Part::Trailers(trailers)))) => {
                    self.put_end(&trailers, framing);
                    *recv = None;
                }
                Poll::Ready(None) => {
                    self.put_end(&Fields::default(), framing);
                    *recv = None;
                }
                Poll::Ready(Some(Err(error))) => return Err(error),
                Poll::Pending => {
                    if from.is_held_back() {
                        self.put_off();
                    }
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn poll_upload(&mut self, upload: &mut Upload, cx: &mut Context<'_>) -> Up {
        match upload.poll(self, cx) {
            Poll::Pending => Up::GoesOn,
            // The stream's other half says why it is over.
            Poll::Ready(Ok(()) | Err(UploadError::Stream)) => Up::Over,
            Poll::Ready(Err(UploadError::Caller(failure))) => {
                upload.cancel();
                Up::Failed(match failure {
                    Failure::Gone => Over::Gone,
                    Failure::Refused(_) | Failure::Preflight | Failure::Document(_) => Over::Broken,
                })
            }
        }
    }

    /// Ready where the caller left or nothing moved too long.
    fn poll_ends(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        if self.poll_gone(cx).is_ready() {
            return Poll::Ready(Over::Gone);
        }
        self.poll_late(cx).map(|()| Over::Broken)
    }

    fn put_data(&mut self, data: Bytes, end: session::End, framing: Framing) {
        if framing != Framing::Chunked {
            return self.conn.queue(data, b"");
        }
        // A write to memory does not fail.
        let _ = write!(self.conn.head().writer(), "{:x}\r\n", data.len());
        let tail: &[u8] = match end {
            session::End::Yes => b"\r\n0\r\n\r\n",
            session::End::No => b"\r\n",
        };
        self.conn.queue(data, tail);
    }

    fn put_end(&mut self, trailers: &Fields, framing: Framing) {
        if framing == Framing::Chunked {
            put_trailers(self.conn.head(), trailers);
        }
    }
}
