//! The bytes of one connection to an app.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// Room for a read while the connection brings little.
const SMALL_READ: usize = 8 << 10;
/// Room for a read once reads fill what there is.
const LARGE_READ: usize = 64 << 10;

/// A connection and what waits in its two directions.
#[derive(Debug)]
pub(crate) struct Connection<IO> {
    io: IO,
    /// Bytes read and not yet taken.
    pub(crate) read: BytesMut,
    /// How the reading side ended, once it has.
    pub(crate) closed: Option<io::ErrorKind>,
    room: usize,
    /// Bytes to write, in the order of the fields.
    head: BytesMut,
    body: Bytes,
    tail: &'static [u8],
    /// Something was written since [`Connection::begin`].
    written: bool,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Connection<IO> {
    /// A connection on which nothing happened yet.
    pub(crate) fn new(io: IO) -> Self {
        Self {
            io,
            read: BytesMut::new(),
            closed: None,
            room: SMALL_READ,
            head: BytesMut::new(),
            body: Bytes::new(),
            tail: b"",
            written: false,
        }
    }

    /// The transport.
    pub(crate) fn io(&self) -> &IO {
        &self.io
    }

    /// Starts another exchange; the buffer returned takes its head.
    pub(crate) fn begin(&mut self) -> &mut BytesMut {
        self.written = false;
        &mut self.head
    }

    /// True where some bytes of this exchange's request went out.
    pub(crate) fn has_written(&self) -> bool {
        self.written
    }

    /// True where everything queued went out.
    pub(crate) fn is_flushed(&self) -> bool {
        self.head.is_empty() && self.body.is_empty() && self.tail.is_empty()
    }

    /// True where [`Connection::queue`] may be called: one part of the body waits at most.
    pub(crate) fn has_room(&self) -> bool {
        self.body.is_empty() && self.tail.is_empty()
    }

    /// Queues body bytes with `tail` behind them, behind the head if that waits still.
    pub(crate) fn queue(&mut self, data: Bytes, tail: &'static [u8]) {
        self.body = data;
        self.tail = tail;
    }

    /// The buffer that goes out before the body: for the head, chunk sizes and trailers.
    pub(crate) fn head(&mut self) -> &mut BytesMut {
        &mut self.head
    }

    /// Writes what is queued; ready once all of it went out.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_flushed() {
            let parts = [
                IoSlice::new(&self.head),
                IoSlice::new(&self.body),
                IoSlice::new(self.tail),
            ];
            let mut len = match (self.body.is_empty(), self.tail.is_empty()) {
                (true, true) => ready!(Pin::new(&mut self.io).poll_write(cx, &self.head)),
                _ => ready!(Pin::new(&mut self.io).poll_write_vectored(cx, &parts)),
            }?;
            if len == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written = true;
            let head = len.min(self.head.len());
            self.head.advance(head);
            len -= head;
            let body = len.min(self.body.len());
            self.body.advance(body);
            self.tail = self.tail.get(len - body..).unwrap_or_default();
        }
        // Large parts are let go of as soon as they are out.
        self.body = Bytes::new();
        Poll::Ready(Ok(()))
    }

    /// Reads some bytes behind [`Connection::read`]; ready with false once the connection ended.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.closed.is_some() {
            return Poll::Ready(false);
        }
        // What is left of the buffer is used up before another is made.
        if self.read.capacity() - self.read.len() < self.room / 4 {
            self.read.reserve(self.room);
        }
        let room = self.read.capacity() - self.read.len();
        let result = ready!(pin!(self.io.read_buf(&mut self.read)).poll(cx));
        match result {
            Ok(0) => self.closed = Some(io::ErrorKind::UnexpectedEof),
            Ok(len) => {
                if len == room {
                    self.room = LARGE_READ;
                }
                return Poll::Ready(true);
            }
            Err(e) => self.closed = Some(e.kind()),
        }
        Poll::Ready(false)
    }

    /// Frees what an idle connection need not hold.
    pub(crate) fn rest(&mut self) {
        self.room = SMALL_READ;
        if self.read.capacity() > 2 * SMALL_READ {
            self.read = BytesMut::new();
        }
        if self.head.capacity() > SMALL_READ {
            self.head = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn parts_go_out_in_order_through_a_narrow_pipe() {
        let (io, mut other) = tokio::io::duplex(3);
        let mut conn = Connection::new(io);
        conn.begin().extend_from_slice(b"head,");
        assert!(conn.has_room() && !conn.has_written());
        conn.queue("body".into(), b",tail");
        assert!(!conn.has_room());
        let mut got = vec![0; 14];
        let (sent, _) = tokio::join!(
            poll_fn(|cx| conn.poll_flush(cx)),
            other.read_exact(&mut got)
        );
        sent.unwrap();
        assert_eq!(got, b"head,body,tail");
        assert!(conn.is_flushed() && conn.has_written());
        conn.begin();
        assert!(!conn.has_written());
    }

    #[tokio::test]
    async fn reads_append_until_the_end() {
        let (io, mut other) = tokio::io::duplex(64);
        let mut conn = Connection::new(io);
        other.write_all(b"abc").await.unwrap();
        assert!(poll_fn(|cx| conn.poll_read(cx)).await);
        other.write_all(b"def").await.unwrap();
        drop(other);
        assert!(poll_fn(|cx| conn.poll_read(cx)).await);
        assert!(!poll_fn(|cx| conn.poll_read(cx)).await);
        assert_eq!(&conn.read[..], b"abcdef");
        assert_eq!(conn.closed, Some(io::ErrorKind::UnexpectedEof));
    }
}
