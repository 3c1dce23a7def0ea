//! Takes what is at hand of a response's body, in as few pieces as it can.

use std::{
    io,
    task::{Context, Poll, ready},
};

use anp_http1::{Connection, Decoded, Decoder};
use anpx::Fields;
use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::app::error::AppError;

/// Chunks are joined into one frame up to this many bytes: below it a copy costs less than a frame.
const JOINED: usize = 16 << 10;

/// Body bytes at hand, and the end where that was seen with them.
pub(super) struct Gathered {
    pub(super) data: Bytes,
    pub(super) tail: Option<Tail>,
}

impl Gathered {
    pub(super) fn nothing() -> Self {
        Self {
            data: Bytes::new(),
            tail: None,
        }
    }
}

pub(super) enum Tail {
    End,
    Trailers(Fields),
}

/// Ready with at most `room` bytes of body, more than none unless the body ended.
pub(super) fn poll_gather<IO: AsyncRead + AsyncWrite + Unpin>(
    conn: &mut Connection<IO>,
    body: &mut Decoder,
    cx: &mut Context<'_>,
    room: usize,
) -> Poll<Result<Gathered, AppError>> {
    loop {
        // Reads go on while bytes are there at once, so that a body that came in pieces leaves in
        // as few frames as it can. One that fills the frame anyway is not read ahead of, nor one that
        // is there.
        let mut open = true;
        let mut drained = false;
        while conn.read.len() < room && !drained && open && !body.is_held_by(conn.read.len()) {
            match conn.poll_read(cx) {
                Poll::Ready(more) => open = more,
                Poll::Pending => drained = true,
            }
        }
        if let Some(gathered) = decode(conn, body, room)? {
            return Poll::Ready(Ok(gathered));
        }
        if let Some(closed) = conn.closed {
            // An orderly end may be the body's too; a reset never is.
            if closed != io::ErrorKind::UnexpectedEof || !body.close() {
                return Poll::Ready(Err(broken(conn.closed, "in the middle of its response")));
            }
        } else if drained {
            return Poll::Pending;
        } else {
            // Bytes were at hand, but only framing and not the whole of it.
            ready!(conn.poll_read(cx));
        }
    }
}

/// Decodes what was read; `None` where that is no part of the body yet.
fn decode<IO>(
    conn: &mut Connection<IO>,
    body: &mut Decoder,
    room: usize,
) -> Result<Option<Gathered>, AppError> {
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    let tail = loop {
        let held = first.len() + joined.len();
        // Past the joining limit only the end is looked for, which needs no room.
        let max = match held {
            0 => room,
            _ => JOINED.min(room).saturating_sub(held),
        };
        match body.next(&mut conn.read, max)? {
            Decoded::Data(data) if held == 0 => first = data,
            Decoded::Data(data) => {
                if joined.is_empty() {
                    joined.reserve(JOINED);
                    joined.put_slice(&std::mem::take(&mut first));
                }
                joined.put_slice(&data);
            }
            Decoded::End => break Some(Tail::End),
            Decoded::Trailers(trailers) => break Some(Tail::Trailers(trailers)),
            Decoded::More => break None,
        }
    };
    let data = match joined.is_empty() {
        true => first,
        false => joined.freeze(),
    };
    Ok((!data.is_empty() || tail.is_some()).then_some(Gathered { data, tail }))
}

/// The connection ended before its time.
pub(super) fn broken(closed: Option<io::ErrorKind>, when: &'static str) -> AppError {
    AppError::Broken {
        when,
        source: closed.unwrap_or(io::ErrorKind::UnexpectedEof).into(),
    }
}
