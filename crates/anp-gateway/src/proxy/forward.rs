//! From a request's head to the final head of its response.

use std::{
    future::poll_fn,
    sync::atomic::Ordering::Relaxed,
    task::{Context, Poll},
};

use anp_http1::fields::parse_length;
use anp_tunnel::{Head, RecvStream};
use anpx::{RequestHead, ResponseHead, session::End};

use super::{
    Download, Downstream,
    exchange::Exchange,
    failure::Failure,
    find::{Found, expected, find},
    open::{Outgoing, next},
    response::informational,
    upload::{Upload, UploadError},
};
use crate::{callers, error::ProxyError, policy::Governed, worker::Worker};

/// A final head, and what follows it.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Not judged yet: see [`super::response::judge`].
    pub(crate) head: ResponseHead,
    /// Whether the head is all there is.
    pub(crate) end: End,
    /// Where the rest comes from.
    pub(crate) recv: Download,
}

/// Sends a request to a receiver of its endpoint, and to another where the first did not take it.
/// What `upload` has left then goes on beside the answer.
///
/// # Errors
/// The caller left, or must be told what [`ProxyError`] says.
pub(crate) async fn forward<D: Downstream>(
    worker: &Worker,
    head: &mut RequestHead,
    upload: &mut Upload,
    down: &mut D,
    exchange: &mut Exchange,
) -> Result<Answer, Failure> {
    exchange.is_of(head, upload);
    // Both are ASCII by their grammar; anything else routes nowhere.
    let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
    let (authority, target) = (text(&head.authority), text(&head.target));
    let found = match find(worker, authority, target) {
        Err(ProxyError::NoEndpoint) => expected(worker, authority, target, down).await?,
        found => found?,
    };
    let endpoint = match found {
        Found::Endpoint(endpoint) => endpoint,
        Found::Document(document) => {
            let reads = matches!(&head.method[..], b"GET" | b"HEAD");
            return Err(Failure::Document(reads.then_some(document)));
        }
    };
    exchange.endpoint = Some(endpoint.clone());
    if let Some(policy) = &endpoint.policy {
        let governed = exchange.governed.insert(Governed::new(policy, head));
        governed.admit(worker, head, down)?;
        if governed.callers().is_some() {
            // Boxed: it would make every request's future larger.
            Box::pin(callers::admit(worker, governed, head, upload, down)).await?;
        }
        governed.count(worker)?;
        governed.rewrite(head)?;
        upload.held_to(governed.pace());
    }
    if let Some(max) = endpoint.max_body
        && head.protocol.is_none()
    {
        let length = head.headers.get("content-length").and_then(parse_length);
        if length.is_some_and(|length| length > max) {
            return Err(ProxyError::BodyTooLarge.into());
        }
        upload.limit(max);
    }
    exchange.place = endpoint.begin()?;
    let pool = &*endpoint.pool;

    let mut request = Outgoing::new(head, upload, exchange.started());
    request.upload.prefetch(down).await?;
    exchange.look_at(request.upload);
    loop {
        let (member, mut recv) = next(worker, pool, &mut request, down).await?;
        exchange.tunnel = Some(member.id);
        let answered = answer(down, &mut request, &mut recv).await;
        exchange.look_at(request.upload);
        let failure = match answered {
            Ok((mut head, end)) => {
                request.upload.forget();
                let recv = match &mut exchange.governed {
                    Some(governed) => {
                        if head.status != 101 {
                            head.headers = governed.shape(&head.headers)?;
                        }
                        let is_head = &request.head.method[..] == b"HEAD";
                        governed.download(recv, &head, end, is_head)
                    }
                    None => Download::new(recv),
                };
                // A response may take long, and nobody asks what the request said any more.
                (request.head.headers, request.head.target) = Default::default();
                return Ok(Answer { head, end, recv });
            }
            Err(failure) => failure,
        };
        if matches!(failure, Failure::Refused(ProxyError::Unreachable)) {
            pool.doubts.add(member.receiver);
        }
        if !request.goes_on_after(&failure) {
            return Err(failure);
        }
        worker.metrics.retries.fetch_add(1, Relaxed);
        request.failed.get_or_insert(failure);
    }
}

/// Pumps the body until the final head is there.
async fn answer<D: Downstream>(
    down: &mut D,
    request: &mut Outgoing<'_>,
    recv: &mut RecvStream,
) -> Result<(ResponseHead, End), Failure> {
    let Outgoing {
        upload, may_repeat, ..
    } = request;
    poll_fn(|cx| {
        if let Err(failure) = poll_upload(upload, down, cx) {
            return Poll::Ready(Err(failure));
        }
        loop {
            match recv.poll_head(cx) {
                Poll::Ready(Ok(Head::Final(head, end))) => return Poll::Ready(Ok((head, end))),
                Poll::Ready(Ok(Head::Informational(head))) => {
                    *may_repeat = false;
                    let goes_on = head.status == 100;
                    if let Some(head) = informational(head) {
                        down.inform(&head);
                    }
                    if goes_on {
                        upload.release();
                        if let Err(failure) = poll_upload(upload, down, cx) {
                            return Poll::Ready(Err(failure));
                        }
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => break,
            }
        }
        if down.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Failure::Gone));
        }
        down.poll_late(cx).map(|()| {
            Err(Failure::Refused(if upload.awaits_caller() {
                ProxyError::RequestTimeout
            } else {
                ProxyError::ResponseTimeout
            }))
        })
    })
    .await
}

/// Only the caller's faults end a request here: what happens to the stream, its other half tells.
fn poll_upload<D: Downstream>(
    upload: &mut Upload,
    down: &mut D,
    cx: &mut Context<'_>,
) -> Result<(), Failure> {
    match upload.poll(down, cx) {
        Poll::Ready(Err(UploadError::Caller(failure))) => Err(failure),
        Poll::Ready(_) | Poll::Pending => Ok(()),
    }
}
