//! One request and its response over one connection, both directions at once.

use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
};

use anp_http1::{Connection, Decoder, fields::put_trailers};
use anp_tunnel::{Incoming, Part, RecvStream};
use anpx::session::End;
use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    gather::{Gathered, Tail, broken, poll_gather},
    request::{Framing, encode_head},
    response,
};
use crate::{
    app::{error::AppError, interim::Interim},
    coding::{Codings, Outgoing},
};

/// How an exchange ended that went well.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Whole; the connection takes another.
    Reusable,
    /// Whole; the connection is used up.
    Spent,
    /// The app accepted an upgrade, and the 101 went out: what follows is raw.
    Switched,
}

/// Sends `incoming` to the app behind `conn` and its answer back. `prefix` goes before the target,
/// `codings` are what the response may be coded with, `kept` says that the connection served
/// another exchange before.
///
/// # Errors
/// The stream has to be reset, or is over; [`AppError::Stale`] where the request may be sent again.
pub(crate) async fn exchange<IO: AsyncRead + AsyncWrite + Unpin>(
    conn: &mut Connection<IO>,
    incoming: &mut Incoming,
    prefix: &[u8],
    codings: &Codings,
    kept: bool,
) -> Result<Ended, AppError> {
    let head = &incoming.head;
    // The first part tells whether there is a body at all. It is not waited for.
    let first = match (incoming.body.is_end(), &head.protocol) {
        (true, _) => Poll::Ready(None),
        // Until it is refused or accepted, an upgrade has none (ANPX 3.7).
        (false, Some(_)) => Poll::Pending,
        (false, None) => poll_fn(|cx| Poll::Ready(incoming.body.poll_part(cx))).await,
    };
    let whole = matches!(first, Poll::Ready(None));
    let first = match first {
        Poll::Ready(part) => part.transpose()?,
        Poll::Pending => None,
    };
    let framing = encode_head(conn.begin(), head, prefix, whole)?;
    let waits = framing != Framing::Empty && first.is_none();
    let mut exchange = Exchange {
        conn,
        request: &mut incoming.body,
        response: Outgoing::new(&mut incoming.response, head, codings),
        upload: match framing {
            Framing::Empty => Upload::Done,
            _ => Upload::Sending(framing),
        },
        taken: first.is_some(),
        first,
        download: Download::Head,
        head: Asked {
            is_head: head.method == "HEAD",
            protocol: head.protocol.clone(),
            may_repeat: whole && head.is_idempotent(),
        },
        interim: Interim::new(head, waits),
        kept,
    };
    poll_fn(|cx| exchange.poll(cx)).await
}

struct Exchange<'a, IO> {
    conn: &'a mut Connection<IO>,
    request: &'a mut RecvStream,
    response: Outgoing<'a>,
    upload: Upload,
    /// The first part of the body, where it came with the head.
    first: Option<Part>,
    /// Some of the body was taken off the stream, so the request cannot be sent again.
    taken: bool,
    download: Download,
    head: Asked,
    interim: Interim,
    kept: bool,
}

/// What the request's head says about the response.
struct Asked {
    is_head: bool,
    /// What the connection is to be upgraded to.
    protocol: Option<Bytes>,
    may_repeat: bool,
}

enum Upload {
    /// Parts of the body are taken and written.
    Sending(Framing),
    /// All of it is queued or written.
    Done,
    /// The app takes no more; its response may still come.
    Broken,
}

enum Download {
    /// The final head has not come.
    Head,
    /// The head was sent on.
    Body { body: Decoder, keep_alive: bool },
    /// The head was a 101.
    Switched,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Exchange<'_, IO> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ended, AppError>> {
        if let Poll::Ready(error) = self.response.stream().poll_error(cx) {
            return Poll::Ready(Err(error.into()));
        }
        self.poll_upload(cx)?;
        let settled = self.taken || !matches!(self.download, Download::Head);
        let stream = self.response.stream();
        self.interim.poll(cx, settled, stream)?;
        self.poll_download(cx)
    }

    /// Moves what it can of the request. A write error is not the exchange's end: an app may have
    /// answered and closed without reading.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), AppError> {
        while !matches!(self.upload, Upload::Broken) {
            // Parts at hand are taken before the head is written, so that they go out in one call.
            let mut waiting = false;
            while self.conn.has_room() && !waiting {
                waiting = !self.take_part(cx)?;
            }
            match self.conn.poll_flush(cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) if waiting => break,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => self.upload = Upload::Broken,
            }
        }
        Ok(())
    }

    /// Queues the next part of the request's body; false where there is none now.
    fn take_part(&mut self, cx: &mut Context<'_>) -> Result<bool, AppError> {
        let Upload::Sending(framing) = &mut self.upload else {
            return Ok(false);
        };
        let part = match self.first.take() {
            Some(part) => Some(part),
            None => match self.request.poll_part(cx) {
                Poll::Ready(part) => part.transpose()?,
                Poll::Pending => return Ok(false),
            },
        };
        self.taken = true;
        let (data, end, trailers) = match part {
            Some(Part::Data(data, end)) => (data, end.is_end(), None),
            Some(Part::Trailers(trailers)) => (Bytes::new(), true, Some(trailers)),
            None => (Bytes::new(), true, None),
        };
        match framing {
            Framing::Sized(left) => {
                *left = left
                    .checked_sub(data.len() as u64)
                    .filter(|left| *left == 0 || !end)
                    .ok_or(AppError::BadRequest("a body unlike its content-length"))?;
                if *left == 0 {
                    self.upload = Upload::Done;
                }
                self.conn.queue(data, b"");
            }
            Framing::Chunked => {
                let head = self.conn.head();
                let tail = match (data.is_empty(), end) {
                    (true, _) => {
                        put_trailers(head, &trailers.unwrap_or_default());
                        &b""[..]
                    }
                    (false, false) => {
                        put_chunk_size(head, data.len());
                        b"\r\n"
                    }
                    (false, true) => {
                        put_chunk_size(head, data.len());
                        b"\r\n0\r\n\r\n"
                    }
                };
                self.conn.queue(data, tail);
                if end {
                    self.upload = Upload::Done;
                }
            }
            Framing::Empty => self.upload = Upload::Done,
        }
        Ok(true)
    }

    fn poll_download(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ended, AppError>> {
        loop {
            let (body, keep_alive) = match &mut self.download {
                Download::Head => {
                    ready!(self.poll_head(cx))?;
                    continue;
                }
                Download::Body { body, keep_alive } => (body, *keep_alive),
                Download::Switched => return Poll::Ready(Ok(Ended::Switched)),
            };
            if body.is_done() {
                ready!(self.response.poll_done(cx))?;
                ready!(self.poll_rest(cx));
                return Poll::Ready(Ok(self.finish(keep_alive)));
            }
            let room = ready!(self.response.poll_capacity(cx))?;
            let Poll::Ready(gathered) = poll_gather(self.conn, body, cx, room)? else {
                let _ = self.response.poll_flush(cx)?;
                return Poll::Pending;
            };
            match gathered.tail {
                Some(Tail::End) => self.response.send_data(gathered.data, End::Yes)?,
                Some(Tail::Trailers(trailers)) => {
                    if !gathered.data.is_empty() {
                        self.response.send_data(gathered.data, End::No)?;
                    }
                    self.response.send_trailers(trailers)?;
                }
                None => self.response.send_data(gathered.data, End::No)?,
            }
        }
    }

    /// Reads up to the final head and sends it on with what came with it. Ready once that is done.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AppError>> {
        loop {
            let Some(found) = response::parse(&mut self.conn.read, self.head.is_head)? else {
                match ready!(self.conn.poll_read(cx)) {
                    true => continue,
                    false => return Poll::Ready(Err(self.broken("before its response"))),
                }
            };
            if found.head.status == 101 {
                return Poll::Ready(self.switch(&found));
            }
            if found.head.is_informational() {
                self.interim.pass(&found.head, self.response.stream())?;
                continue;
            }
            return Poll::Ready(self.respond(cx, found));
        }
    }

    /// Accepts the upgrade that was asked for.
    fn switch(&mut self, found: &response::Response) -> Result<(), AppError> {
        let Some(asked) = &self.head.protocol else {
            return Err(AppError::Malformed("an upgrade nobody asked for"));
        };
        let same = |protocol: &Bytes| protocol.eq_ignore_ascii_case(asked);
        if !found.protocol.as_ref().is_some_and(same) {
            return Err(AppError::Malformed("an upgrade to what nobody asked for"));
        }
        let stream = self.response.stream();
        stream.respond(&found.head, Bytes::new(), End::No)?;
        self.download = Download::Switched;
        Ok(())
    }

    /// Sends the final head, with the body or as much of it as is at hand.
    fn respond(&mut self, cx: &mut Context<'_>, found: response::Response) -> Result<(), AppError> {
        let mut body = found.body;
        let room = self.response.first_capacity();
        // Without room (a peer that grants nothing) the head goes alone.
        let gathered = match body.is_done() {
            true => Gathered {
                data: Bytes::new(),
                tail: Some(Tail::End),
            },
            false if room == 0 => Gathered::nothing(),
            false => match poll_gather(self.conn, &mut body, cx, room) {
                Poll::Ready(gathered) => gathered?,
                Poll::Pending => Gathered::nothing(),
            },
        };
        let end = matches!(gathered.tail, Some(Tail::End));
        self.response
            .respond(&found.head, gathered.data, end.into())?;
        if let Some(Tail::Trailers(trailers)) = gathered.tail {
            self.response.send_trailers(trailers)?;
        }
        self.download = Download::Body {
            body,
            keep_alive: found.keep_alive,
        };
        Ok(())
    }

    /// Ready once the app has all of the request or takes no more of it. An app that ends its side,
    /// or says more than its response, is done with what is still on its way to it.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let broken = matches!(self.upload, Upload::Broken);
        if broken || self.is_sent() || !self.conn.read.is_empty() {
            return Poll::Ready(());
        }
        self.conn.poll_read(cx).map(|_| ())
    }

    /// The request went out whole.
    fn is_sent(&self) -> bool {
        matches!(self.upload, Upload::Done) && self.conn.is_flushed()
    }

    /// The response went out whole, and no more of the request does.
    fn finish(&self, keep_alive: bool) -> Ended {
        let sent = self.is_sent();
        let clean = self.conn.closed.is_none() && self.conn.read.is_empty();
        let upgrade = self.head.protocol.is_some();
        match keep_alive && sent && clean && !upgrade {
            true => Ended::Reusable,
            false => Ended::Spent,
        }
    }

    /// The connection ended before the final head.
    fn broken(&self, when: &'static str) -> AppError {
        let unanswered = self.kept && !self.interim.is_heard() && self.conn.read.is_empty();
        let untouched = !self.conn.has_written() && !self.taken;
        if unanswered && (untouched || self.head.may_repeat) {
            return AppError::Stale {
                reached: !untouched,
            };
        }
        broken(self.conn.closed, when)
    }
}

fn put_chunk_size(out: &mut BytesMut, size: usize) {
    let mut digits = [0; 16];
    let mut left = size;
    let mut start = digits.len();
    for place in digits.iter_mut().rev() {
        *place = b"0123456789abcdef".get(left & 15).copied().unwrap_or(b'0');
        left >>= 4;
        start -= 1;
        if left == 0 {
            break;
        }
    }
    out.put_slice(digits.get(start..).unwrap_or_default());
    out.put_slice(b"\r\n");
}
