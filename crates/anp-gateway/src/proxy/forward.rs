//! The road of one request.

use std::{
    convert::Infallible,
    future::poll_fn,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
};

use anp_tunnel::{Head, RecvStream, Version};
use anpx::{OpenError, RequestHead, ResponseHead, session::End};
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;

use super::{
    exchange::Exchange,
    request,
    response::{self, Body},
    upload::{Running, Upload, UploadError},
};
use crate::{
    error::ProxyError,
    pick::pick,
    registry::{Member, TunnelId},
    respond,
    route::EndpointId,
    stop::Step,
    tunnels,
    workers::{Caller, Worker},
};

/// Most tunnels a request is tried on, each once (ANPX 3.8).
const TRIES: usize = 3;

/// Answers a request.
pub(crate) async fn handle(
    caller: Arc<Caller>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    caller.watch.request(parts.version < http::Version::HTTP_11);
    if tunnels::is_for_us(&caller.worker.shared, &parts.uri) {
        let response = tunnels::handshake(&caller, &parts);
        caller.watch.half_over();
        return Ok(response);
    }
    let mut exchange = Exchange::begin(&caller, &parts);
    let mut answer = match forward(&caller, &parts, body, &mut exchange).await {
        Ok(answer) => {
            exchange.answered(answer.head.status().as_u16(), None);
            answer.into_response(exchange)
        }
        Err(error) => {
            let id = exchange.id().hyphenated().to_string();
            let response = respond::problem(error, &id);
            exchange.answered(response.status().as_u16(), Some(error));
            response.map(|bytes| Body::own(bytes, Some(exchange)))
        }
    };
    if caller.worker.shared.stop.is(Step::Draining) || caller.watch.is_unread() {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(header::CONNECTION, close);
    }
    caller.watch.response();
    Ok(answer)
}

/// A final head, and what follows it.
struct Answer {
    head: Response<()>,
    end: End,
    recv: RecvStream,
    upload: Option<Upload>,
}

impl Answer {
    fn into_response(self, exchange: Exchange) -> Response<Body> {
        // A body nobody asked for stays with the caller: hyper closes the connection.
        let upload = self
            .upload
            .filter(|u| !u.is_done() && !u.is_held())
            .map(Running::start);
        let body = match self.end {
            End::Yes => Body::ended(&self.head, self.recv, upload, exchange),
            End::No => Body::stream(self.recv, upload, exchange),
        };
        self.head.map(|()| body)
    }
}

async fn forward(
    caller: &Arc<Caller>,
    parts: &http::request::Parts,
    body: Incoming,
    exchange: &mut Exchange,
) -> Result<Answer, ProxyError> {
    let worker = &caller.worker;
    let upload = Upload::new(caller.watch.clone(), body, expects_continue(parts));
    let head = request::head(&caller.origin, parts, exchange.id())?;
    // Both are ASCII by their grammar; anything else routes nowhere.
    let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
    let endpoint = worker
        .shared
        .routes
        .find(text(&head.authority), text(&head.target))?;
    exchange.endpoint = Some(endpoint);

    let mut request = Outgoing {
        head,
        upload,
        tried: [None; TRIES],
    };
    request.upload.prefetch().await?;
    for _ in 0..TRIES {
        let (member, mut recv) = open(worker, endpoint, &mut request).await?;
        exchange.tunnel = Some(member.id);
        let error = match answer(caller, &mut request.upload, &mut recv).await {
            Ok((head, end)) => {
                let head = response::head(&head, end, &parts.method)?;
                let upload = Some(request.upload);
                return Ok(Answer {
                    head,
                    end,
                    recv,
                    upload,
                });
            }
            Err(error) => error,
        };
        if !error.is_retry_safe() || !request.upload.rewind() {
            return Err(error);
        }
        worker.metrics.retries.fetch_add(1, Relaxed);
    }
    Err(ProxyError::Refused)
}

fn expects_continue(parts: &http::request::Parts) -> bool {
    parts.version >= http::Version::HTTP_11
        && parts
            .headers
            .get(header::EXPECT)
            .is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// A request while it looks for a tunnel that takes it.
struct Outgoing {
    head: RequestHead,
    upload: Upload,
    tried: [Option<TunnelId>; TRIES],
}

impl Outgoing {
    fn has_tried(&self, tunnel: TunnelId) -> bool {
        self.tried.contains(&Some(tunnel))
    }
}

/// Opens a stream on the best tunnel, waiting for one where all are full.
async fn open(
    worker: &Worker,
    endpoint: EndpointId,
    request: &mut Outgoing,
) -> Result<(Member, RecvStream), ProxyError> {
    match try_open(worker, endpoint, request) {
        Err(ProxyError::Full) => {}
        decided => return decided,
    }
    worker.metrics.queued.fetch_add(1, Relaxed);
    let config = &worker.shared.config;
    let queue = worker.shared.tunnels.queue(endpoint);
    queue
        .wait(config.queue_size, config.queue_timeout.0, || {
            try_open(worker, endpoint, request)
        })
        .await
}

fn try_open(
    worker: &Worker,
    endpoint: EndpointId,
    request: &mut Outgoing,
) -> Result<(Member, RecvStream), ProxyError> {
    // Between the look at a tunnel and the opening another worker may take its last place.
    for _ in 0..TRIES {
        let member = choose(worker, endpoint, request)?;
        let (first, end) = request.upload.first(&member.tunnel);
        match member.tunnel.open(&request.head, first, end) {
            Ok((send, recv)) => {
                if let Some(place) = request.tried.iter_mut().find(|t| t.is_none()) {
                    *place = Some(member.id);
                }
                request.upload.attach(send, end);
                if request.upload.is_held() && member.tunnel.version() == Version::V1 {
                    // Version 1 has no word for 100 (ANPX 2.3): the gateway says it.
                    request.upload.release();
                }
                return Ok((member, recv));
            }
            Err(error) => {
                request.upload.rewind();
                if error != OpenError::Unavailable {
                    return Err(error.into());
                }
            }
        }
    }
    Err(ProxyError::Full)
}

fn choose(worker: &Worker, endpoint: EndpointId, request: &Outgoing) -> Result<Member, ProxyError> {
    let mut chosen = Err(ProxyError::NoTunnel);
    let turn = worker.turn();
    worker
        .shared
        .tunnels
        .registry()
        .members(endpoint, &mut |members| {
            chosen = match pick(members, worker.index, turn, |m| !request.has_tried(m.id)) {
                Some(member) => Ok(member.clone()),
                None if members.is_empty() => Err(ProxyError::NoTunnel),
                None if members.iter().all(|m| request.has_tried(m.id)) => Err(ProxyError::Refused),
                None => Err(ProxyError::Full),
            };
        });
    chosen
}

/// Pumps the body until the final head is there.
async fn answer(
    caller: &Caller,
    upload: &mut Upload,
    recv: &mut RecvStream,
) -> Result<(ResponseHead, End), ProxyError> {
    poll_fn(|cx| {
        match poll_upload(upload, cx) {
            Ok(()) => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
        loop {
            match recv.poll_head(cx) {
                Poll::Ready(Ok(Head::Final(head, end))) => return Poll::Ready(Ok((head, end))),
                Poll::Ready(Ok(Head::Informational(head))) => {
                    // Others than 100 cannot be passed on over HTTP/1.1 with this server.
                    if head.status == 100 {
                        upload.release();
                        if let Err(error) = poll_upload(upload, cx) {
                            return Poll::Ready(Err(error));
                        }
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending if caller.watch.is_late() => {
                    return Poll::Ready(Err(if caller.watch.awaits_caller() {
                        ProxyError::RequestTimeout
                    } else {
                        ProxyError::ResponseTimeout
                    }));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// Only the caller's faults end a request here: what happens to the stream, its other half tells.
fn poll_upload(upload: &mut Upload, cx: &mut Context<'_>) -> Result<(), ProxyError> {
    match upload.poll(cx) {
        Poll::Ready(Err(UploadError::Caller(error))) => Err(error),
        Poll::Ready(_) | Poll::Pending => Ok(()),
    }
}
