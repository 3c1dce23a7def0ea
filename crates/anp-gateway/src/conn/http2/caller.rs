//! The caller of one request on an HTTP/2 connection.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use anpx::{Fields, ResponseHead};
use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use tokio::time::Instant;

use crate::{
    conn::{Deadline, Limits, Moved},
    error::ProxyError,
    proxy::{Downstream, Failure, Piece, request},
};

/// A stream, both halves, and the deadline of the phase it is in.
pub(super) struct Http2 {
    body: RecvStream,
    /// Until the final head went out.
    respond: SendResponse<Bytes>,
    /// From then on.
    pub(super) send: Option<SendStream<Bytes>>,
    deadline: Deadline,
    patience: Duration,
    pub(super) limits: Limits,
    /// The longest time that a request of the connection may stand still.
    longest: Longest,
    /// Keeps the connection.
    connection: Moved,
}

/// The longest time that a request of a connection may stand still, and so its connection.
#[derive(Clone, Debug)]
pub(super) struct Longest(Arc<AtomicU64>);

impl Longest {
    /// The times of the connection.
    pub(super) fn new(limits: &Limits) -> Self {
        let longest = Self(Arc::default());
        longest.at_least(limits.response.max(limits.idle));
        longest
    }

    /// It, now.
    pub(super) fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Relaxed))
    }

    fn at_least(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.0.fetch_max(millis, Relaxed);
    }
}

impl Http2 {
    /// A request whose head just came.
    pub(super) fn new(
        body: RecvStream,
        respond: SendResponse<Bytes>,
        limits: Limits,
        longest: Longest,
        connection: Moved,
    ) -> Self {
        Self {
            body,
            respond,
            send: None,
            deadline: Deadline::new(limits.response),
            patience: limits.response,
            limits,
            longest,
            connection,
        }
    }

    /// Sends the final head. False where the caller left.
    pub(super) fn respond(&mut self, head: Response<()>, end: bool) -> bool {
        self.patience = self.limits.idle;
        self.deadline.set(self.patience);
        match self.respond.send_response(head, end) {
            Ok(send) => {
                self.send = Some(send);
                true
            }
            Err(_) => false,
        }
    }

    /// Something of the request or its answer moved.
    pub(super) fn moved(&mut self) {
        self.deadline.set(self.patience);
    }

    /// Ends the stream so that the caller sees a broken message.
    pub(super) fn reset(&mut self) {
        match &mut self.send {
            Some(send) => send.send_reset(Reason::INTERNAL_ERROR),
            None => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
    }

    /// Waits until the caller takes a byte more than is on its way: what one flow-control window or
    /// one buffer holds. `None` where it left.
    pub(super) fn poll_capacity(
        &mut self,
        wanted: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<usize>> {
        let Some(send) = &mut self.send else {
            return Poll::Ready(None);
        };
        send.reserve_capacity(wanted);
        loop {
            match send.capacity() {
                0 => {}
                capacity => return Poll::Ready(Some(capacity.min(wanted))),
            }
            match ready!(send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(None),
            }
        }
    }

    /// Waits until the caller has left or nothing moved too long.
    pub(super) fn poll_ends(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        if self.poll_gone(cx).is_ready() {
            return Poll::Ready(Failure::Gone);
        }
        self.poll_late(cx)
            .map(|()| Failure::Refused(ProxyError::ResponseTimeout))
    }

    /// Sends an answer of the gateway's own.
    pub(super) async fn answer(&mut self, mut response: Response<Bytes>, is_head: bool) {
        let mut body = std::mem::take(response.body_mut());
        if response.status() != StatusCode::NO_CONTENT {
            let length = HeaderValue::from(body.len());
            response
                .headers_mut()
                .insert(http::header::CONTENT_LENGTH, length);
        }
        if !self.respond(response.map(|_| ()), is_head || body.is_empty()) || is_head {
            return;
        }
        poll_fn(|cx| {
            while !body.is_empty() {
                match self.poll_capacity(body.len(), cx) {
                    Poll::Ready(Some(len)) => {
                        let piece = body.split_to(len);
                        let end = body.is_empty();
                        let sent = self.send.as_mut().map(|s| s.send_data(piece, end));
                        if !matches!(sent, Some(Ok(()))) {
                            return Poll::Ready(());
                        }
                    }
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => return self.poll_ends(cx).map(|_| ()),
                }
            }
            Poll::Ready(())
        })
        .await;
    }
}

impl Downstream for Http2 {
    fn is_body_whole(&self) -> bool {
        self.body.is_end_stream()
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Failure>> {
        loop {
            match ready!(self.body.poll_data(cx)) {
                Some(Ok(data)) => {
                    // It is asked for only when it can be sent on: that opens the window again.
                    let _ = self.body.flow_control().release_capacity(data.len());
                    self.moved();
                    if !data.is_empty() {
                        return Poll::Ready(Ok(Piece::Data(data)));
                    }
                }
                Some(Err(_)) => return Poll::Ready(Err(Failure::Gone)),
                None => break,
            }
        }
        Poll::Ready(match ready!(self.body.poll_trailers(cx)) {
            Ok(None) => Ok(Piece::End),
            Ok(Some(map)) => trailers(&map).map(Piece::Trailers).map_err(Failure::from),
            Err(_) => Err(Failure::Gone),
        })
    }

    fn allow(&mut self, response: Option<Duration>, idle: Option<Duration>) {
        self.limits.idle = idle.unwrap_or(self.limits.idle);
        self.limits.response = response.unwrap_or(self.limits.response);
        self.longest
            .at_least(self.limits.idle.max(self.limits.response));
        self.patience = self.limits.response;
        self.deadline.set_at(Instant::now() + self.patience);
    }

    fn put_off(&mut self) {
        self.moved();
        self.connection.set();
    }

    fn inform(&mut self, head: &ResponseHead) {
        let mut response = Response::new(());
        if let (Ok(status), Ok(headers)) =
            (StatusCode::from_u16(head.status), header_map(&head.headers))
        {
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            // Who left will be missed soon enough.
            let _ = self.respond.send_informational(response);
        }
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.send {
            Some(send) => send.poll_reset(cx).map(|_| ()),
            None => self.respond.poll_reset(cx).map(|_| ()),
        }
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.deadline.poll(cx)
    }
}

/// A request's trailers as the tunnel carries them.
fn trailers(map: &HeaderMap) -> Result<Fields, ProxyError> {
    let mut fields = Fields::builder(128);
    for (name, value) in map {
        let name = name.as_str().as_bytes();
        if anpx::fields::is_forbidden(name) {
            continue;
        }
        fields
            .push(name, value.as_bytes())
            .map_err(|error| match error {
                anpx::FieldsError::TooLarge => ProxyError::HeadersTooLarge,
                _ => ProxyError::BadRequest("a trailer field is not valid"),
            })?;
    }
    request::trailers(fields.build())
}

/// Fields as h2 wants them. The values are slices of the frame they came in.
///
/// # Errors
/// 502 where one is not valid HTTP.
pub(super) fn header_map(from: &Fields) -> Result<HeaderMap, ProxyError> {
    let mut to = HeaderMap::with_capacity(16);
    for (name, value) in from {
        let name = HeaderName::from_bytes(name).map_err(|_| ProxyError::BadResponse)?;
        let value = HeaderValue::from_maybe_shared(from.share(value))
            .map_err(|_| ProxyError::BadResponse)?;
        to.try_append(name, value)
            .map_err(|_| ProxyError::BadResponse)?;
    }
    Ok(to)
}
