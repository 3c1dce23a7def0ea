//! The response as it goes to the caller.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use anp_tunnel::{Part, RecvStream};
use anpx::{Fields, ResponseHead, StreamError, session::End};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header::CONTENT_LENGTH,
};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{
    exchange::{Exchange, Outcome},
    upload::Running,
};
use crate::error::ProxyError;

/// Why a response broke off. The caller's connection ends early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("the body stood still too long")]
    Idle,
}

/// The head of the answer to a request of `method`; `end` where nothing follows it.
///
/// # Errors
/// 502 where it is not valid HTTP.
pub(crate) fn head(
    from: &ResponseHead,
    end: End,
    method: &Method,
) -> Result<Response<()>, ProxyError> {
    let status = StatusCode::from_u16(from.status)
        .ok()
        .filter(|s| (200..600).contains(&s.as_u16()))
        .ok_or(ProxyError::BadResponse)?;
    let headers = header_map(&from.headers)?;
    let bodyless = method == Method::HEAD || status == StatusCode::NOT_MODIFIED;
    match length(&headers)? {
        // hyper would say 0 instead, and the caller would take the answer for whole.
        Some(1..) if end.is_end() && !bodyless => return Err(ProxyError::BadResponse),
        _ => {}
    }
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// The values are slices of the frame they came in.
fn header_map(from: &Fields) -> Result<HeaderMap, ProxyError> {
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

/// The content length, of which there may be one (RFC 9112 section 6.3): the framing toward the
/// caller is made from it.
fn length(headers: &HeaderMap) -> Result<Option<u64>, ProxyError> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else {
        return Ok(None);
    };
    let digits = first.to_str().unwrap_or_default();
    // `parse` alone would take a plus sign.
    let digits = Some(digits).filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
    match (digits.and_then(|d| d.parse().ok()), lengths.next()) {
        (Some(length), None) => Ok(Some(length)),
        _ => Err(ProxyError::BadResponse),
    }
}

/// A body for the caller, read from the tunnel as the caller takes it.
#[derive(Debug)]
pub(crate) struct Body {
    source: Source,
    /// `None` for answers that are no request's, such as a tunnel's handshake.
    exchange: Option<Exchange>,
}

#[derive(Debug)]
enum Source {
    Own(Bytes),
    Stream {
        recv: RecvStream,
        upload: Option<Running>,
    },
    /// Nothing, but of a length that the head names.
    Absent,
    End,
}

impl Body {
    /// Bytes of the gateway's own.
    pub(crate) fn own(bytes: Bytes, exchange: Option<Exchange>) -> Self {
        let mut body = Self {
            source: Source::Own(bytes),
            exchange,
        };
        if matches!(&body.source, Source::Own(b) if b.is_empty()) {
            body.end(Outcome::Complete);
        }
        body
    }

    /// What `recv` has, while `upload` goes on.
    pub(crate) fn stream(recv: RecvStream, upload: Option<Running>, exchange: Exchange) -> Self {
        Self {
            source: Source::Stream { recv, upload },
            exchange: Some(exchange),
        }
    }

    /// A stream that ended with `head`, while `upload` goes on.
    pub(crate) fn ended(
        head: &Response<()>,
        recv: RecvStream,
        upload: Option<Running>,
        exchange: Exchange,
    ) -> Self {
        let mut body = Self::stream(recv, upload, exchange);
        body.end(Outcome::Complete);
        if head.status() == StatusCode::NOT_MODIFIED && head.headers().contains_key(CONTENT_LENGTH)
        {
            // hyper leaves the length out of a 304 whose body is known to be empty.
            body.source = Source::Absent;
        }
        body
    }

    fn end(&mut self, outcome: Outcome) {
        if let Some(exchange) = &mut self.exchange {
            exchange.ended(outcome);
        }
        if outcome == Outcome::Complete
            && let Source::Stream {
                upload: Some(upload),
                ..
            } = &mut self.source
        {
            upload.detach();
        }
        self.source = Source::End;
    }

    fn fail(&mut self, error: BodyError) -> Option<Result<Frame<Bytes>, BodyError>> {
        if let Some(exchange) = &self.exchange {
            exchange.caller().watch.set_broken();
        }
        self.end(Outcome::Broken);
        Some(Err(error))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let recv = match &mut this.source {
            Source::Stream { recv, .. } => recv,
            Source::Own(bytes) => {
                let bytes = std::mem::take(bytes);
                if let Some(exchange) = &mut this.exchange {
                    exchange.sent(bytes.len());
                }
                this.end(Outcome::Complete);
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            Source::Absent | Source::End => return Poll::Ready(None),
        };
        let part = recv.poll_part(cx);
        let late = |e: &Exchange| e.caller().watch.is_late();
        if part.is_pending() && this.exchange.as_ref().is_some_and(late) {
            return Poll::Ready(this.fail(BodyError::Idle));
        }
        Poll::Ready(match ready!(part) {
            None => {
                this.end(Outcome::Complete);
                None
            }
            Some(Ok(Part::Data(data, end))) => {
                if let Some(exchange) = &mut this.exchange {
                    exchange.sent(data.len());
                }
                if end.is_end() {
                    this.end(Outcome::Complete);
                }
                Some(Ok(Frame::data(data)))
            }
            Some(Ok(Part::Trailers(fields))) => {
                this.end(Outcome::Complete);
                // Valid by construction; a field that were not would only be left out.
                header_map(&fields).ok().map(|map| Ok(Frame::trailers(map)))
            }
            Some(Err(error)) => this.fail(error.into()),
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.source, Source::End)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::End => SizeHint::with_exact(0),
            Source::Stream { .. } | Source::Absent => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(status: u16, fields: &[(&str, &str)]) -> Result<Response<()>, ProxyError> {
        let from = ResponseHead {
            status,
            headers: Fields::from_pairs(fields.iter().copied()).unwrap(),
        };
        head(&from, End::Yes, &Method::GET)
    }

    #[test]
    fn a_head_keeps_its_fields_and_their_order() {
        let cookies = [
            ("set-cookie", "a=1"),
            ("x", "\u{e9}"),
            ("set-cookie", "b=2"),
        ];
        let response = map(299, &cookies).unwrap();
        assert_eq!(response.status(), 299);
        let values: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
        assert_eq!(values, ["a=1", "b=2"]);
        assert_eq!(response.headers()["x"].as_bytes(), "\u{e9}".as_bytes());
    }

    #[test]
    fn what_is_not_http_is_502() {
        for status in [0, 99, 101, 150, 600, 999] {
            assert_eq!(map(status, &[]).unwrap_err(), ProxyError::BadResponse);
        }
        for length in ["1", "", "-1", "+1", "1, 1", "1x", "99999999999999999999"] {
            assert_eq!(
                map(200, &[("content-length", length)]).unwrap_err(),
                ProxyError::BadResponse
            );
        }
        let twice = [("content-length", "0"), ("content-length", "0")];
        assert_eq!(map(200, &twice).unwrap_err(), ProxyError::BadResponse);
    }
}
