//! The bytes of one connection.

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
/// Body parts up to this size are copied behind the head: a copy costs less than a place of its own
/// in a write.
const SMALL_PART: usize = 4 << 10;
/// No more is queued once this many bytes of heads and small parts wait.
const FULL_HEAD: usize = 16 << 10;

/// A connection and what waits in its two directions.
#[derive(Debug)]
pub struct Connection<IO> {
    io: IO,
    /// Bytes read and not yet taken.
    pub read: BytesMut,
    /// How the reading side ended, once it has.
    pub closed: Option<io::ErrorKind>,
    room: usize,
    /// Bytes to write, in the order of the fields.
    head: BytesMut,
    body: Bytes,
    tail: &'static [u8],
    /// Something was written since [`Connection::begin`].
    written: bool,
    /// The transport may keep some of what it took, as TLS does where the socket is full.
    unflushed: bool,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Connection<IO> {
    /// A connection from which `read` was taken already.
    pub fn new(io: IO, read: BytesMut) -> Self {
        Self {
            io,
            read,
            closed: None,
            room: SMALL_READ,
            head: BytesMut::new(),
            body: Bytes::new(),
            tail: b"",
            written: false,
            unflushed: false,
        }
    }

    /// The transport.
    pub fn io(&self) -> &IO {
        &self.io
    }

    /// The transport.
    pub fn io_mut(&mut self) -> &mut IO {
        &mut self.io
    }

    /// The transport and what was read and not taken. What is queued is lost.
    pub fn into_parts(self) -> (IO, BytesMut) {
        (self.io, self.read)
    }

    /// Starts another exchange; the buffer returned takes its head.
    pub fn begin(&mut self) -> &mut BytesMut {
        self.written = false;
        &mut self.head
    }

    /// True where some bytes went out since [`Connection::begin`].
    pub fn has_written(&self) -> bool {
        self.written
    }

    /// True where everything queued went out.
    pub fn is_flushed(&self) -> bool {
        self.is_written() && !self.unflushed
    }

    /// True where the transport took everything queued.
    fn is_written(&self) -> bool {
        self.head.is_empty() && self.body.is_empty() && self.tail.is_empty()
    }

    /// True where [`Connection::queue`] may be called: one large part of a body waits at most, or
    /// 16 KiB of heads and small ones.
    pub fn has_room(&self) -> bool {
        self.body.is_empty() && self.tail.is_empty() && self.head.len() < FULL_HEAD
    }

    /// Queues body bytes with `tail` behind them, behind all that waits still. Only where
    /// [`Connection::has_room`] says so.
    pub fn queue(&mut self, data: Bytes, tail: &'static [u8]) {
        debug_assert!(self.body.is_empty() && self.tail.is_empty(), "no room");
        if data.len() + tail.len() <= SMALL_PART && self.head.len() < FULL_HEAD {
            self.head.extend_from_slice(&data);
            self.head.extend_from_slice(tail);
        } else {
            self.body = data;
            self.tail = tail;
        }
    }

    /// The buffer that goes out before a large part of a body: for the head, chunk sizes and
    /// trailers. Only where [`Connection::has_room`] says so.
    pub fn head(&mut self) -> &mut BytesMut {
        &mut self.head
    }

    /// Writes what is queued; ready once all of it went out.
    ///
    /// # Errors
    /// The transport's; [`io::ErrorKind::WriteZero`] where it takes no bytes.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_written() {
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
            self.unflushed = true;
            let of_head = len.min(self.head.len());
            match of_head == self.head.len() {
                // Not advanced, so that its room is used again from the start.
                true => self.head.clear(),
                false => self.head.advance(of_head),
            }
            len -= of_head;
            let body = len.min(self.body.len());
            self.body.advance(body);
            self.tail = self.tail.get(len - body..).unwrap_or_default();
        }
        // Large parts are let go of as soon as they are out.
        self.body = Bytes::new();
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads some bytes behind [`Connection::read`]; ready with false once the connection ended.
    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
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

    /// Frees what an idle connection need not hold. What came ahead of its time stays.
    pub fn rest(&mut self) {
        self.room = SMALL_READ;
        if self.read.is_empty() && self.read.capacity() > 2 * SMALL_READ {
            self.read = BytesMut::new();
        }
        if self.head.is_empty() && self.head.capacity() > SMALL_READ {
            self.head = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::AsyncWriteExt;

    /// Writes what is queued through a pipe that holds three bytes; gives what came out.
    async fn narrowly(queue: impl FnOnce(&mut Connection<tokio::io::DuplexStream>)) -> Vec<u8> {
        let (io, mut other) = tokio::io::duplex(3);
        let mut conn = Connection::new(io, BytesMut::new());
        queue(&mut conn);
        assert!(!conn.is_flushed() && !conn.has_written());
        let send = async {
            poll_fn(|cx| conn.poll_flush(cx)).await.unwrap();
            assert!(conn.is_flushed() && conn.has_written() && conn.has_room());
            conn.begin();
            assert!(!conn.has_written());
            drop(conn);
        };
        let mut got = Vec::new();
        let (_, result) = tokio::join!(send, other.read_to_end(&mut got));
        result.unwrap();
        got
    }

    #[tokio::test]
    async fn small_parts_join_the_head() {
        let got = narrowly(|conn| {
            conn.begin().extend_from_slice(b"head,");
            assert!(conn.has_room());
            conn.queue("body".into(), b",tail,");
            assert!(conn.has_room());
            conn.queue("more".into(), b"");
            assert!(conn.body.is_empty() && conn.tail.is_empty());
        });
        assert_eq!(got.await, b"head,body,tail,more");
    }

    #[tokio::test]
    async fn a_large_part_waits_alone() {
        let large = Bytes::from(vec![b'x'; SMALL_PART]);
        let part = large.clone();
        let got = narrowly(move |conn| {
            conn.begin().extend_from_slice(b"head,");
            conn.queue(part, b",tail");
            assert_eq!(conn.head.len(), 5);
            assert!(!conn.has_room());
        });
        assert_eq!(got.await, [b"head,", &large[..], b",tail"].concat());
    }

    #[tokio::test]
    async fn small_parts_are_queued_up_to_a_limit() {
        narrowly(|conn| {
            while conn.has_room() {
                conn.queue(Bytes::from(vec![b'x'; SMALL_PART]), b"");
            }
            assert_eq!(conn.head.len(), FULL_HEAD);
        })
        .await;
    }

    #[tokio::test]
    async fn what_the_transport_keeps_is_not_out() {
        let (io, mut other) = tokio::io::duplex(3);
        let mut conn = Connection::new(tokio::io::BufWriter::new(io), BytesMut::new());
        conn.begin().extend_from_slice(b"head");
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(conn.poll_flush(&mut cx).is_pending());
        assert!(conn.has_written() && conn.has_room() && !conn.is_flushed());
        let mut got = [0; 4];
        let (read, flushed) = tokio::join!(
            other.read_exact(&mut got),
            poll_fn(|cx| conn.poll_flush(cx))
        );
        assert!(read.is_ok() && flushed.is_ok() && conn.is_flushed());
        assert_eq!(&got, b"head");
    }

    #[tokio::test]
    async fn a_connection_takes_over_and_hands_on_what_was_read() {
        let (io, mut other) = tokio::io::duplex(64);
        let mut conn = Connection::new(io, BytesMut::from("abc"));
        other.write_all(b"def").await.unwrap();
        assert!(poll_fn(|cx| conn.poll_read(cx)).await);
        conn.io_mut().write_all(b"ghi").await.unwrap();
        let (_io, read) = conn.into_parts();
        assert_eq!(&read[..], b"abcdef");
    }

    #[test]
    fn a_connection_at_rest_keeps_what_it_has() {
        let (io, _) = tokio::io::duplex(64);
        let mut conn = Connection::new(io, BytesMut::with_capacity(4 * LARGE_READ));
        conn.read.extend_from_slice(b"next");
        conn.begin().reserve(2 * SMALL_READ);
        conn.head().extend_from_slice(b"answer");
        conn.rest();
        assert_eq!(
            (&conn.read[..], &conn.head[..]),
            (&b"next"[..], &b"answer"[..])
        );
        conn.read.clear();
        conn.head().clear();
        conn.rest();
        assert_eq!((conn.read.capacity(), conn.head.capacity()), (0, 0));
    }

    #[tokio::test]
    async fn reads_append_until_the_end() {
        let (io, mut other) = tokio::io::duplex(64);
        let mut conn = Connection::new(io, BytesMut::new());
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
