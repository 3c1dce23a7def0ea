//! Drives an HTTP/1 connection and its deadlines.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::Body;
use hyper::{
    body::Incoming,
    server::conn::http1::{Builder, Connection},
    service::HttpService,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until},
};

use super::{Expired, Watch, Watched};
use crate::stop::{Step, Stop};

type Io = TokioIo<Watched<TcpStream>>;
type Error = Box<dyn std::error::Error + Send + Sync>;

/// A connection whose HTTP is over.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The socket.
    pub(crate) socket: TcpStream,
    /// Bytes read past the last request.
    pub(crate) read: Bytes,
}

/// Puts HTTP/1 on a socket.
///
/// hyper's own timeouts are off: the watch has them without a timer for each request. Its
/// `pipeline_flush` is off too: it holds back a stream's bytes while a pipelined request waits, and
/// takes the bound from the write buffer.
pub(crate) fn serve<S>(
    io: Watched<TcpStream>,
    max_header_size: usize,
    service: S,
) -> Connection<Io, S>
where
    S: HttpService<Incoming>,
    S::Error: Into<Error>,
    S::ResBody: Body + 'static,
    <S::ResBody as Body>::Error: Into<Error>,
{
    Builder::new()
        .half_close(false)
        .header_read_timeout(None)
        .max_header_size(max_header_size)
        // A request's header fields and ours, as many as a tunnel carries (ANPX section 4).
        .max_headers(anpx::limits::MAX_FIELDS)
        // A head, or one frame of a body and its framing: what is buffered for a slow caller.
        .max_buf_size(max_header_size.max(64 << 10) + (8 << 10))
        .serve_connection(TokioIo::new(io), service)
}

/// Runs a connection to its end: the caller's, a deadline's, or a stop's. `None` where the socket
/// was given up.
pub(crate) async fn drive<S>(
    mut connection: Connection<Io, S>,
    watch: Arc<Watch>,
    stop: &Stop,
) -> Option<Ended>
where
    S: HttpService<Incoming>,
    S::Error: Into<Error>,
    S::ResBody: Body + 'static,
    <S::ResBody as Body>::Error: Into<Error>,
{
    let whole = {
        let run = Run {
            connection: &mut connection,
            watch: &watch,
        };
        let mut run = pin!(run.until_late());
        let mut close_idle = pin!(stop.reached(Step::CloseIdle));
        let (mut registered, mut stopping) = (false, false);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(whole) = run.as_mut().poll(cx) {
                return Poll::Ready(whole);
            }
            // Polled once, to be woken, and then not before a stop has begun: it takes a lock.
            if !stopping && (!registered || stop.is(Step::Draining)) {
                registered = true;
                stopping = close_idle.as_mut().poll(cx).is_ready();
            }
            if stopping && watch.is_idle() {
                return Poll::Ready(true);
            }
            Poll::Pending
        })
        .await
    };
    let parts = connection.into_parts();
    let socket = parts.io.into_inner().into_inner();
    if watch.wants_reset() {
        // The message had no length: a plain end would make the part that came look whole.
        let _ = socket.set_zero_linger();
        return None;
    }
    whole.then_some(Ended {
        socket,
        read: parts.read_buf,
    })
}

struct Run<'a, S>
where
    S: HttpService<Incoming>,
{
    connection: &'a mut Connection<Io, S>,
    watch: &'a Watch,
}

impl<S> Run<'_, S>
where
    S: HttpService<Incoming>,
    S::Error: Into<Error>,
    S::ResBody: Body + 'static,
    <S::ResBody as Body>::Error: Into<Error>,
{
    /// True where HTTP ended by itself, false where it failed or was late.
    async fn until_late(mut self) -> bool {
        let mut timer = pin!(sleep_until(self.watch.deadline()));
        std::future::poll_fn(|cx| {
            loop {
                if let Poll::Ready(result) = self.poll_connection(cx) {
                    return Poll::Ready(result);
                }
                let deadline = self.watch.deadline();
                if deadline < timer.deadline() {
                    timer.as_mut().reset(deadline);
                }
                loop {
                    if timer.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    let deadline = self.watch.deadline();
                    if deadline <= Instant::now() {
                        break;
                    }
                    timer.as_mut().reset(deadline);
                }
                match self.watch.expire() {
                    Expired::Connection => return Poll::Ready(false),
                    // The handler or the body sees it when the connection is polled.
                    Expired::Request => {}
                }
            }
        })
        .await
    }

    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        Pin::new(&mut *self.connection).poll(cx).map(|result| {
            if let Err(error) = &result {
                tracing::debug!(%error, "connection ended");
            }
            result.is_ok()
        })
    }
}
