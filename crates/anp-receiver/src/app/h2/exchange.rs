//! One request and its response on one stream, both directions at once.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use anp_tunnel::{Incoming, Part, RecvStream};
use anpx::{Fields, RequestHead, ResponseHead, session::End};
use bytes::Bytes;
use h2::{Reason, client::ResponseFuture};

use super::{Connections, connections::Lease, heads, liveness::Waiting};
use crate::{
    address::AppUrl,
    app::{error::AppError, interim::Interim, pool::PoolConfig},
    coding::{Codings, Outgoing},
};

/// How often a request is sent again that its app did not process: an app that ends its connections
/// after so many requests refuses what was on its way to each.
const MAX_REFUSALS: u32 = 4;

/// Sends `incoming` to the app at `url` and its answer back. A request that the app did not process
/// goes out again (RFC 9113 section 8.7), unless more than the start of its body was taken: the gateway
/// may have that still.
///
/// # Errors
/// The stream has to be reset, or is over; [`AppError::Unreachable`] and
/// [`AppError::ConnectTimeout`] where all of `incoming` is as it was.
pub(crate) async fn exchange(
    app: &Connections,
    url: &AppUrl,
    config: &PoolConfig,
    incoming: &mut Incoming,
    codings: &Codings,
) -> Result<(), AppError> {
    let mut lease = leased(app, url, config, incoming).await?;
    let upgrade = incoming.head.protocol.as_ref();
    let carried = upgrade.is_none_or(|protocol| {
        protocol.eq_ignore_ascii_case(b"websocket")
            && lease.send.is_extended_connect_protocol_enabled()
    });
    if !carried {
        return not_implemented(incoming);
    }
    // The first part tells whether there is a body at all. It is not waited for.
    let first = match incoming.body.is_end() {
        true => Poll::Ready(None),
        false => poll_fn(|cx| Poll::Ready(incoming.body.poll_part(cx))).await,
    };
    let whole = matches!(first, Poll::Ready(None));
    let first = match first {
        Poll::Ready(part) => part.transpose()?,
        Poll::Pending => None,
    };
    let (mut was_stale, mut reached) = (false, false);
    let mut refusals = 0;
    loop {
        let result = run(lease, url, incoming, codings, first.clone(), whole).await;
        match &result {
            Err(AppError::Stale { reached: some }) if !was_stale => {
                (was_stale, reached) = (true, *some)
            }
            Err(AppError::NotProcessed { taken: false }) if refusals < MAX_REFUSALS => {
                refusals += 1
            }
            _ => return result,
        }
        lease = match leased(app, url, config, incoming).await {
            // Another app would get the rest of the body alone: whoever has all of it may send it again.
            Err(error) if error.is_unreachable() && first.is_some() => {
                return Err(AppError::NotProcessed { taken: false });
            }
            Err(error) if reached => return Err(error.once_reached()),
            leased => leased?,
        };
    }
}

/// A place on a connection, unless the stream ends first.
async fn leased(
    app: &Connections,
    url: &AppUrl,
    config: &PoolConfig,
    incoming: &mut Incoming,
) -> Result<Lease, AppError> {
    let mut lease = std::pin::pin!(app.lease(url, config.connect_timeout));
    poll_fn(|cx| {
        if let Poll::Ready(error) = incoming.response.poll_error(cx) {
            return Poll::Ready(Err(error.into()));
        }
        lease.as_mut().poll(cx)
    })
    .await
}

/// Answers an upgrade that the app cannot take.
fn not_implemented(incoming: &mut Incoming) -> Result<(), AppError> {
    const BODY: &[u8] = b"the app does not take this upgrade\n";
    let length = BODY.len().to_string();
    let headers = Fields::from_pairs([
        ("content-type", "text/plain; charset=utf-8"),
        ("content-length", &length),
    ])
    .map_err(AppError::from_field)?;
    let status = 501;
    let head = ResponseHead { status, headers };
    let body = Bytes::from_static(BODY);
    Ok(incoming.response.respond(&head, body, End::Yes)?)
}

/// One try.
async fn run(
    mut lease: Lease,
    url: &AppUrl,
    incoming: &mut Incoming,
    codings: &Codings,
    first: Option<Part>,
    whole: bool,
) -> Result<(), AppError> {
    let head = &incoming.head;
    let request = heads::request(head, url.prefix())?;
    let is_raw = head.protocol.is_some();
    let waits = !whole && !is_raw && first.is_none();
    let (answer, upload) = lease.send.send_request(request, whole).map_err(|e| {
        let unsent = e.is_io() || e.is_go_away();
        match lease.kept && unsent {
            true => AppError::Stale { reached: false },
            false => broken(e, "before the request"),
        }
    })?;
    let mut exchange = Exchange {
        head,
        request: &mut incoming.body,
        response: Outgoing::new(&mut incoming.response, head, codings),
        upload: Upload {
            stream: upload,
            waiting: Bytes::new(),
            then: match whole {
                true => Then::Over,
                false => Then::More,
            },
        },
        first,
        taken: false,
        download: Download::Head(answer),
        interim: Interim::new(head, waits),
        may_repeat: whole && lease.kept && head.is_idempotent(),
        is_raw,
        waiting: &lease.waiting,
    };
    poll_fn(|cx| exchange.poll(cx)).await
}

fn broken(error: h2::Error, when: &'static str) -> AppError {
    AppError::Broken {
        when,
        source: io::Error::other(error),
    }
}

struct Exchange<'a> {
    head: &'a RequestHead,
    request: &'a mut RecvStream,
    response: Outgoing<'a>,
    upload: Upload,
    /// The first part of the body, where it came with the head.
    first: Option<Part>,
    /// More than that was taken off the stream, so the request cannot be sent again.
    taken: bool,
    download: Download,
    interim: Interim,
    /// Sending it again does no harm even where the app may have processed it.
    may_repeat: bool,
    /// An upgrade, not refused so far.
    is_raw: bool,
    /// What it is to the connection's watch.
    waiting: &'a Waiting,
}

struct Upload {
    stream: h2::SendStream<Bytes>,
    /// Bytes that wait for the app's window.
    waiting: Bytes,
    /// What follows them.
    then: Then,
}

enum Then {
    More,
    End,
    Trailers(Fields),
    /// Nothing, and everything went out or is wanted no more.
    Over,
}

enum Download {
    /// The final head has not come.
    Head(ResponseFuture),
    /// Bytes of the body wait for the tunnel.
    Body(h2::RecvStream, Bytes),
    Over,
}

impl Exchange<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AppError>> {
        if let Poll::Ready(error) = self.response.stream().poll_error(cx) {
            self.upload.stream.send_reset(Reason::CANCEL);
            return Poll::Ready(Err(error.into()));
        }
        let result = self.poll_both(cx);
        if let Poll::Ready(Err(_)) = &result {
            self.upload.stream.send_reset(Reason::CANCEL);
        }
        result
    }

    fn poll_both(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AppError>> {
        let uploaded = self.poll_upload(cx)?;
        let begun = self.taken || self.first.is_some();
        let settled = begun || !matches!(self.download, Download::Head(_));
        self.interim.poll(cx, settled, self.response.stream())?;
        ready!(self.poll_download(cx))?;
        // The app may read on behind its response. One that does not resets the stream.
        uploaded.map(Ok)
    }

    /// Moves what it can of the request. An app that takes no more of it may still answer.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AppError>> {
        loop {
            if !self.upload.waiting.is_empty() {
                match ready!(self.upload.poll_send(cx)) {
                    Ok(()) => continue,
                    Err(Refused) => self.upload.give_up(),
                }
            }
            match std::mem::replace(&mut self.upload.then, Then::Over) {
                // The app will not read it, though it may have answered.
                Then::More if self.upload.stream.poll_reset(cx).is_ready() => {}
                Then::More => {
                    self.upload.then = Then::More;
                    ready!(self.poll_part(cx))?;
                }
                Then::End => {
                    // An error is the stream's end, which the answer tells.
                    let _ = self.upload.stream.send_data(Bytes::new(), true);
                }
                Then::Trailers(trailers) => {
                    let trailers = heads::header_map(&trailers)?;
                    let _ = self.upload.stream.send_trailers(trailers);
                }
                Then::Over => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Takes the next part of the request's body.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AppError>> {
        let part = match self.first.take() {
            Some(part) => Some(part),
            None => {
                let part = ready!(self.request.poll_part(cx)).transpose()?;
                self.taken = true;
                part
            }
        };
        let upload = &mut self.upload;
        match part {
            Some(Part::Data(data, end)) => {
                upload.waiting = data;
                if end.is_end() {
                    upload.then = Then::End;
                }
            }
            Some(Part::Trailers(trailers)) => upload.then = Then::Trailers(trailers),
            None => upload.then = Then::End,
        }
        Poll::Ready(Ok(()))
    }

    fn poll_download(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AppError>> {
        loop {
            match &mut self.download {
                Download::Head(_) => ready!(self.poll_head(cx))?,
                Download::Body(..) => ready!(self.poll_body(cx))?,
                Download::Over => return self.response.poll_done(cx),
            }
        }
    }

    /// Takes what came up to the final head and sends it on. Ready once that is done.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AppError>> {
        let Download::Head(answer) = &mut self.download else {
            return Poll::Ready(Ok(()));
        };
        while let Poll::Ready(Some(interim)) = answer.poll_informational(cx) {
            let interim = match interim {
                Ok(interim) => interim,
                Err(error) => return Poll::Ready(Err(self.unanswered(error))),
            };
            let head = heads::response(interim.status(), interim.headers())?;
            self.interim.pass(&head, self.response.stream())?;
        }
        let (head, body) = match ready!(Pin::new(answer).poll(cx)) {
            Ok(response) => response.into_parts(),
            Err(error) => return Poll::Ready(Err(self.unanswered(error))),
        };
        self.waiting.answered();
        if self.is_raw && head.status.is_success() {
            let head = heads::switching(self.head, &head.headers)?;
            let stream = self.response.stream();
            stream.respond(&head, Bytes::new(), End::No)?;
        } else {
            self.is_raw = false;
            let head = heads::response(head.status, &head.headers)?;
            let end = body.is_end_stream();
            self.response.respond(&head, Bytes::new(), end.into())?;
            if end {
                self.download = Download::Over;
                return Poll::Ready(Ok(()));
            }
        }
        self.download = Download::Body(body, Bytes::new());
        Poll::Ready(Ok(()))
    }

    /// What comes of a stream that ended before the final head.
    fn unanswered(&self, error: h2::Error) -> AppError {
        // REFUSED_STREAM, and a GOAWAY for a stream above the last one processed.
        let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        let unprocessed = error.is_remote() && (refused || error.is_go_away());
        if self.interim.is_heard() {
            return broken(error, "before its response");
        }
        if unprocessed {
            AppError::NotProcessed { taken: self.taken }
        } else if error.is_io() && self.may_repeat {
            AppError::Stale { reached: true }
        } else {
            broken(error, "before its response")
        }
    }

    /// Sends on the next of the body; the app is granted as much as the tunnel took.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AppError>> {
        let Download::Body(body, held) = &mut self.download else {
            return Poll::Ready(Ok(()));
        };
        let room = ready!(self.response.poll_capacity(cx))?;
        if held.is_empty() {
            match body.poll_data(cx) {
                Poll::Pending => {
                    let _ = self.response.poll_flush(cx)?;
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(data))) => {
                    self.waiting.answered();
                    *held = data;
                }
                Poll::Ready(Some(Err(error))) => {
                    let when = "in the middle of its response";
                    return Poll::Ready(Err(broken(error, when)));
                }
                Poll::Ready(None) => {
                    let trailers = ready!(body.poll_trailers(cx));
                    let trailers =
                        trailers.map_err(|e| broken(e, "in the middle of its response"))?;
                    match trailers.filter(|_| !self.is_raw) {
                        Some(map) => {
                            let trailers = heads::fields(&map, false)?;
                            self.response.send_trailers(trailers)?;
                        }
                        None => self.response.send_data(Bytes::new(), End::Yes)?,
                    }
                    self.download = Download::Over;
                    return Poll::Ready(Ok(()));
                }
            }
        }
        let data = held.split_to(room.min(held.len()));
        // Fails only where more is given back than came.
        let _ = body.flow_control().release_capacity(data.len());
        let end = held.is_empty() && body.is_end_stream();
        if end || !data.is_empty() {
            self.response.send_data(data, end.into())?;
        }
        if end {
            self.download = Download::Over;
        }
        Poll::Ready(Ok(()))
    }
}

/// The app takes no more of the request.
struct Refused;

impl Upload {
    /// Sends as much of what waits as the app's window takes. Ready once some went out.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        self.stream.reserve_capacity(self.waiting.len());
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(Refused)),
            }
        }
        let room = self.stream.capacity();
        let data = self.waiting.split_to(room.min(self.waiting.len()));
        let last = self.waiting.is_empty() && matches!(self.then, Then::End);
        if last {
            self.then = Then::Over;
        }
        let sent = self.stream.send_data(data, last);
        Poll::Ready(sent.map_err(|_| Refused))
    }

    fn give_up(&mut self) {
        self.waiting = Bytes::new();
        self.then = Then::Over;
    }
}
