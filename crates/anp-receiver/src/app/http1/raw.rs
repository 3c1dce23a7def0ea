//! What follows a 101: bytes both ways, without form (ANPX 3.7).

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use anp_http1::Connection;
use anp_tunnel::{Incoming, Part, RecvStream, SendStream};
use anpx::session::End;
use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::gather::broken;
use crate::app::{error::AppError, socket::Socket};

/// Copies bytes between the stream and the app until both directions ended. The end of one
/// direction is a FIN at the app and END_STREAM at the tunnel, and leaves the other as it is.
///
/// There is no clock here: a gateway that gives up on a silent caller resets the stream, and a
/// tunnel that dies takes its streams along. Whatever ends the copying before its time, the task
/// being dropped included, resets the app's connection, since to raw bytes an orderly close would
/// be their end.
///
/// # Errors
/// The caller or the tunnel went away, or the app reset the connection.
pub(crate) async fn splice(
    conn: Connection<Socket>,
    incoming: &mut Incoming,
) -> Result<(), AppError> {
    let mut splice = Splice {
        conn,
        request: &mut incoming.body,
        response: &mut incoming.response,
        upload: Upload::Copying,
        downloaded: false,
    };
    poll_fn(|cx| splice.poll(cx)).await
}

struct Splice<'a> {
    conn: Connection<Socket>,
    request: &'a mut RecvStream,
    response: &'a mut SendStream,
    upload: Upload,
    /// The app's FIN was passed on.
    downloaded: bool,
}

/// ```text
/// Copying ─► Ending ─► Over
///    └───────────────────▲   the app takes no more
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
enum Upload {
    Copying,
    /// A FIN follows what is queued.
    Ending,
    Over,
}

impl Drop for Splice<'_> {
    fn drop(&mut self) {
        if !self.is_over() {
            self.conn.io().abort();
        }
    }
}

impl Splice<'_> {
    fn is_over(&self) -> bool {
        self.upload == Upload::Over && self.downloaded
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AppError>> {
        if let Poll::Ready(error) = self.response.poll_error(cx) {
            return Poll::Ready(Err(error.into()));
        }
        let uploaded = self.poll_upload(cx)?;
        let downloaded = self.poll_download(cx)?;
        match uploaded.is_ready() && downloaded.is_ready() {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AppError>> {
        while self.upload != Upload::Over {
            let mut waiting = false;
            while self.upload == Upload::Copying && self.conn.has_room() && !waiting {
                waiting = !self.take_part(cx)?;
            }
            let mut written = self.conn.poll_flush(cx);
            if self.upload == Upload::Ending && matches!(written, Poll::Ready(Ok(()))) {
                written = Pin::new(self.conn.io_mut()).poll_shutdown(cx);
            }
            match ready!(written) {
                Ok(()) if waiting => return Poll::Pending,
                Ok(()) if self.upload == Upload::Copying => {}
                Ok(()) => self.upload = Upload::Over,
                // The app closed after its own FIN, which may still wait to be read.
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => self.upload = Upload::Over,
                // The one report of a reset: reading would show a FIN from here on.
                Err(e) => return Poll::Ready(Err(broken(Some(e.kind()), "after its upgrade"))),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Queues what came next of the caller's bytes; false where there is nothing now.
    fn take_part(&mut self, cx: &mut Context<'_>) -> Result<bool, AppError> {
        let (data, end) = match self.request.poll_part(cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Some(Ok(Part::Data(data, end)))) => (data, end),
            Poll::Ready(Some(Ok(Part::Trailers(_))) | None) => (Bytes::new(), End::Yes),
            Poll::Ready(Some(Err(error))) => return Err(error.into()),
        };
        self.conn.queue(data, b"");
        if end.is_end() {
            self.upload = Upload::Ending;
        }
        Ok(true)
    }

    fn poll_download(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AppError>> {
        while !self.downloaded {
            let room = ready!(self.response.poll_capacity(cx))?;
            while self.conn.read.len() < room {
                match self.conn.poll_read(cx) {
                    Poll::Ready(true) => {}
                    Poll::Ready(false) | Poll::Pending => break,
                }
            }
            let len = self.conn.read.len().min(room);
            let data = self.conn.read.split_to(len).freeze();
            let closed = self.conn.closed.filter(|_| self.conn.read.is_empty());
            match closed {
                Some(io::ErrorKind::UnexpectedEof) => {
                    self.response.send_data(data, End::Yes)?;
                    self.downloaded = true;
                }
                Some(kind) => return Poll::Ready(Err(broken(Some(kind), "after its upgrade"))),
                None if data.is_empty() => return Poll::Pending,
                None => self.response.send_data(data, End::No)?,
            }
        }
        Poll::Ready(Ok(()))
    }
}
