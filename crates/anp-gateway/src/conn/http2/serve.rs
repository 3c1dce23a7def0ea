//! An HTTP/2 connection from its preface to its end.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use anpx::is_100_continue;
use bytes::Bytes;
use h2::server::{Builder, Connection};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    caller::{Http2, Longest},
    request::{self, Connect},
    response,
};
use crate::{
    access_log::Outcome,
    alive::Life,
    conn::{Deadline, LINGER, Metered, Moved},
    error::ProxyError,
    handshake, health,
    proxy::{
        Exchange, Failure, Upload, forward,
        response::{Follows, judge},
    },
    respond,
    stop::Step,
    worker::Caller,
};

/// Requests of one connection at once.
const MAX_STREAMS: u32 = 128;
/// Bytes of a body that may be on their way before the app took any.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same for all bodies of a connection: one whose app takes nothing must hold up no other.
const CONNECTION_WINDOW: u32 = MAX_STREAMS * STREAM_WINDOW;
/// Bytes of a response that wait for a caller whose window is open.
const SEND_BUFFER: usize = 64 << 10;

/// Serves HTTP/2 on `io`, of which `read` was read already: the beginning of the preface at least.
/// The first request must come before `deadline`; `beginning` lasts until it has found a tunnel.
pub(crate) async fn serve<IO>(
    caller: &Arc<Caller>,
    mut io: Metered<IO>,
    read: Bytes,
    deadline: Deadline,
    beginning: Option<Life>,
) where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let settings = caller.worker.shared.settings.load_full();
    let max_header_size = u32::try_from(settings.max_header_size()).unwrap_or(u32::MAX);
    let moved = io.moved().clone();
    io.rewind(read);
    let mut handshake = pin!(
        Builder::new()
            .max_concurrent_streams(MAX_STREAMS)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(max_header_size)
            .max_send_buffer_size(SEND_BUFFER)
            .enable_connect_protocol()
            .handshake(io)
    );
    let mut deadline = deadline;
    let connection = poll_fn(|cx| match handshake.as_mut().poll(cx) {
        Poll::Ready(connection) => Poll::Ready(connection.ok()),
        Poll::Pending => deadline.poll(cx).map(|()| None),
    })
    .await;
    if let Some(connection) = connection {
        run(caller, connection, deadline, &moved, beginning).await;
    }
}

/// Takes requests until there will be none.
async fn run<IO>(
    caller: &Arc<Caller>,
    mut connection: Connection<IO, Bytes>,
    mut deadline: Deadline,
    moved: &Moved,
    mut beginning: Option<Life>,
) where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let shared = &caller.worker.shared;
    let limits = shared.settings.load().limits;
    // Each request has times of its own, the longest of which ends before this one.
    let longest = Longest::new(&limits);
    let mut busy = longest.now() + LINGER;
    let (mut was_busy, mut leaving, mut stop) = (false, false, Step::Running);
    let mut reached = pin!(shared.stop.reached(Step::Draining));
    poll_fn(|cx| {
        while stop < Step::CloseIdle && reached.as_mut().poll(cx).is_ready() {
            stop = match stop {
                Step::Running => Step::Draining,
                _ => Step::CloseIdle,
            };
            reached.set(shared.stop.reached(Step::CloseIdle));
        }
        loop {
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    let (longest, moved) = (longest.clone(), moved.clone());
                    let down = move |body| Http2::new(body, respond, limits, longest, moved);
                    tokio::spawn(one(caller.clone(), request, down, beginning.take()));
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "HTTP/2 connection ended");
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        // Not before the first request, as long as one is waited for: a caller that is told to go before
        // it could ask anything takes that for a broken connection.
        let leaves = match stop {
            Step::Running | Step::Leaving => false,
            Step::Draining => beginning.is_none(),
            Step::CloseIdle | Step::Now => true,
        };
        if leaves && !leaving {
            leave(&mut connection, &mut deadline);
            leaving = true;
        }
        let is_busy = connection.has_streams();
        if is_busy && (!was_busy || moved.take()) {
            deadline.set(busy);
        } else if was_busy && !is_busy {
            deadline.set(if leaving { LINGER } else { limits.keep_alive });
        }
        was_busy = is_busy;
        while deadline.poll(cx).is_ready() {
            let now = longest.now() + LINGER;
            if is_busy && now > busy {
                // A request was given more time since.
                deadline.set(now - busy);
                busy = now;
                continue;
            }
            if leaving {
                return Poll::Ready(());
            }
            leave(&mut connection, &mut deadline);
            leaving = true;
        }
        Poll::Pending
    })
    .await;
}

/// Says that new requests must go elsewhere; what is under way is finished. A caller that has none
/// has the time of a last answer to close.
fn leave<IO>(connection: &mut Connection<IO, Bytes>, deadline: &mut Deadline)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    connection.graceful_shutdown();
    if !connection.has_streams() {
        deadline.set(LINGER);
    }
}

/// Serves one request; `down` is made of its body.
async fn one(
    caller: Arc<Caller>,
    request: Request<h2::RecvStream>,
    down: impl FnOnce(h2::RecvStream) -> Http2,
    beginning: Option<Life>,
) {
    let (parts, body) = request.into_parts();
    let worker = &caller.worker;
    let target = parts.uri.path_and_query().map_or("", |p| p.as_str());
    let method = parts.method.as_str().as_bytes();
    let is_head = method == b"HEAD";
    let whole = body.is_end_stream();
    let settings = worker.shared.settings.load_full();
    let mut down = down(body);
    if let Some(response) = health::answer(&caller, &settings.config, method, target) {
        return down.answer(response, is_head).await;
    }
    let mut exchange = Exchange::begin(&caller, method, target.as_bytes());

    let connect = match handshake::is_for_us(&caller, target) {
        // Tunnels come by HTTP/1.1, and the app has nothing there.
        true => Err(ProxyError::NoEndpoint),
        false => Connect::of(&parts, &settings.config.upgrades),
    };
    let mapped = connect.and_then(|connect| {
        let head = request::head(&caller.origin, &parts, connect.as_ref(), exchange.id())?;
        Ok((head, connect.map(|(connect, _)| connect)))
    });
    let mut upload = Upload::new(whole, expects_continue(&parts));
    let answered = match mapped {
        Ok((mut head, connect)) => {
            if connect.is_some() {
                upload = Upload::new(false, true);
            }
            forward(worker, &mut head, &mut upload, &mut down, &mut exchange)
                .await
                .and_then(|answer| {
                    let upgrade = connect.is_some();
                    let follows = judge(&answer.head, answer.end, is_head, upgrade)?;
                    let head = response::head(&answer.head, follows, connect.as_ref())?;
                    Ok((answer, follows, head, upgrade))
                })
        }
        Err(error) => Err(error.into()),
    };
    drop(beginning);
    let (answer, follows, head, upgrade) = match answered {
        Ok(answered) => answered,
        Err(Failure::Gone) => return,
        Err(failure) => {
            // The app learns of it now, not when the caller has read the answer.
            drop(upload);
            return refuse(down, exchange, failure, is_head).await;
        }
    };
    exchange.answered(answer.head.status, None);
    if follows == Follows::Raw {
        upload.release();
    } else if upgrade {
        upload.end();
    }
    let ended = follows == Follows::Nothing || answer.end.is_end() && follows != Follows::Raw;
    if !down.respond(head, ended) {
        return;
    }
    if !ended {
        match response::pump(&mut down, answer.recv, &mut upload, &mut exchange).await {
            Ok(()) => {}
            Err(Failure::Gone) => return,
            Err(_) => {
                exchange.ended(Outcome::Broken);
                down.reset();
                return;
            }
        }
    }
    exchange.ended(Outcome::Complete);
    // Of a message the answer is what counts; of raw bytes both directions are.
    let under_way = (follows == Follows::Raw).then_some(exchange);
    response::finish_upload(&mut down, &mut upload).await;
    drop(under_way);
}

fn expects_continue(parts: &http::request::Parts) -> bool {
    let mut values = parts.headers.get_all(http::header::EXPECT).iter();
    values.any(|value| is_100_continue(value.as_bytes()))
}

/// Answers in the app's place.
async fn refuse(mut down: Http2, mut exchange: Exchange, failure: Failure, is_head: bool) {
    let Some((response, error)) = respond::answer(failure, &exchange) else {
        return;
    };
    exchange.answered(response.status().as_u16(), error);
    if !is_head {
        exchange.sent(response.body().len());
    }
    exchange.ended(Outcome::Complete);
    down.answer(response, is_head).await;
}
