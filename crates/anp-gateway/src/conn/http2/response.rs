//! The response to a request on an HTTP/2 connection, and what follows its head.

use std::{future::poll_fn, task::Poll};

use anp_tunnel::{Part, handshake::accept_key};
use anpx::{ResponseHead, session::End};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use super::{
    caller::{Http2, header_map},
    request::Connect,
};
use crate::{
    conn::date,
    error::ProxyError,
    proxy::{Download, Downstream as _, Exchange, Failure, Upload, UploadError, response::Follows},
};

/// The head of a response. An accepted upgrade answers an extended `connect` with 200
/// (RFC 8441 section 5); an answer of 200 without one must not be taken for that.
///
/// # Errors
/// 502 where it is no valid HTTP or no sound handshake.
pub(super) fn head(
    from: &ResponseHead,
    follows: Follows,
    connect: Option<&Connect>,
) -> Result<Response<()>, ProxyError> {
    let mut headers = header_map(&from.headers)?;
    let mut status = StatusCode::from_u16(from.status).map_err(|_| ProxyError::BadResponse)?;
    if let Some(connect) = connect {
        if follows == Follows::Raw {
            let accept = headers.remove(header::SEC_WEBSOCKET_ACCEPT);
            if let Some(key) = &connect.key
                && accept.is_none_or(|a| a.as_bytes() != accept_key(key.as_bytes()).as_bytes())
            {
                return Err(ProxyError::BadResponse);
            }
            headers.remove(header::CONTENT_LENGTH);
            status = StatusCode::OK;
        } else if status.is_success() {
            return Err(ProxyError::BadResponse);
        }
    }
    if status == StatusCode::NO_CONTENT {
        headers.remove(header::CONTENT_LENGTH);
    }
    if !headers.contains_key(header::DATE) {
        date::with(|date| {
            if let Ok(date) = HeaderValue::from_str(date) {
                headers.insert(header::DATE, date);
            }
        });
    }
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// Sends what `recv` has, while `upload` goes on.
///
/// # Errors
/// The caller left, or the message broke and must not look whole.
pub(super) async fn pump(
    down: &mut Http2,
    mut recv: Download,
    upload: &mut Upload,
    exchange: &mut Exchange,
) -> Result<(), Failure> {
    let mut uploading = !upload.is_done() && !upload.is_held();
    let mut waiting = Bytes::new();
    let mut last = false;
    poll_fn(|cx| {
        if uploading {
            match upload.poll(down, cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(()) | Err(UploadError::Stream)) => uploading = false,
                Poll::Ready(Err(UploadError::Caller(failure))) => {
                    upload.cancel();
                    return Poll::Ready(Err(failure));
                }
            }
        }
        loop {
            if waiting.is_empty() {
                match recv.poll_part(cx) {
                    Poll::Ready(Some(Ok(Part::Data(data, end)))) => {
                        (waiting, last) = (data, end == End::Yes);
                    }
                    Poll::Ready(Some(Ok(Part::Trailers(trailers)))) => {
                        let map = header_map(&trailers)?;
                        let sent = down.send.as_mut().map(|s| s.send_trailers(map));
                        return Poll::Ready(outcome(sent));
                    }
                    Poll::Ready(None) => {
                        let sent = down.send.as_mut().map(|s| s.send_data(Bytes::new(), true));
                        return Poll::Ready(outcome(sent));
                    }
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error.into())),
                    Poll::Pending => {
                        if recv.is_held_back() {
                            down.put_off();
                        }
                        break;
                    }
                }
            }
            let len = match down.poll_capacity(waiting.len(), cx) {
                Poll::Ready(Some(len)) => len,
                Poll::Ready(None) => return Poll::Ready(Err(Failure::Gone)),
                Poll::Pending => break,
            };
            let data = waiting.split_to(len);
            let end = last && waiting.is_empty();
            if !recv.is_ours() {
                down.moved();
            }
            exchange.sent(data.len());
            let sent = down.send.as_mut().map(|s| s.send_data(data, end));
            match outcome(sent) {
                Ok(()) if !end => {}
                over => return Poll::Ready(over),
            }
        }
        down.poll_ends(cx).map(Err)
    })
    .await
}

fn outcome(sent: Option<Result<(), h2::Error>>) -> Result<(), Failure> {
    match sent {
        Some(Ok(())) => Ok(()),
        Some(Err(_)) | None => Err(Failure::Gone),
    }
}

/// Goes on with an upload after its response.
pub(super) async fn finish_upload(down: &mut Http2, upload: &mut Upload) {
    if upload.is_held() {
        return;
    }
    poll_fn(|cx| match upload.poll(down, cx) {
        Poll::Pending => down.poll_ends(cx).map(|_| ()),
        Poll::Ready(Err(UploadError::Caller(_))) => {
            upload.cancel();
            Poll::Ready(())
        }
        Poll::Ready(_) => Poll::Ready(()),
    })
    .await;
}

#[cfg(test)]
mod tests {
    use anpx::Fields;

    use super::*;

    #[test]
    fn an_accepted_upgrade_is_200_and_only_that() {
        let connect = Connect {
            key: Some("dGhlIHNhbXBsZSBub25jZQ==".to_owned()),
        };
        let answer = |status, accept| {
            let from = ResponseHead {
                status,
                headers: Fields::from_pairs([("sec-websocket-accept", accept)]).unwrap(),
            };
            let follows = match status {
                101 => Follows::Raw,
                _ => Follows::Streamed,
            };
            head(&from, follows, Some(&connect))
        };
        // The example of RFC 6455 section 1.3.
        let accepted = answer(101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=").unwrap();
        assert_eq!(accepted.status(), StatusCode::OK);
        assert!(!accepted.headers().contains_key("sec-websocket-accept"));
        assert_eq!(answer(101, "other").unwrap_err(), ProxyError::BadResponse);
        assert_eq!(answer(200, "other").unwrap_err(), ProxyError::BadResponse);
        assert_eq!(
            answer(403, "other").unwrap().status(),
            StatusCode::FORBIDDEN
        );
    }
}
