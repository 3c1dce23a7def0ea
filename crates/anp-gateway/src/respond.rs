//! Turns errors into responses. The only place that chooses a status of the gateway's own.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};

use crate::{
    documents::Published,
    error::ProxyError,
    proxy::{Exchange, Failure},
};

/// Seconds a caller is asked to wait before it tries again.
pub(crate) const RETRY_AFTER_SECS: &str = "1";

impl ProxyError {
    /// The status a caller gets.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Self::HttpVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::UnknownProtocol => StatusCode::NOT_IMPLEMENTED,
            Self::NoEndpoint => StatusCode::NOT_FOUND,
            Self::Caller(denied) => denied.status(),
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge | Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RateLimited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::NoTunnel
            | Self::Full
            | Self::Paused
            | Self::Overloaded(_)
            | Self::EndpointFull
            | Self::TenantFull
            | Self::Refused => StatusCode::SERVICE_UNAVAILABLE,
            Self::ResponseTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Unreachable
            | Self::UpstreamFailed
            | Self::TunnelLost
            | Self::BadResponse
            | Self::Unsupported => StatusCode::BAD_GATEWAY,
        }
    }
}

/// The answer in the app's place to a request that ended with `failure`, and the error it tells of;
/// nothing where there is nobody to answer.
pub(crate) fn answer(
    failure: Failure,
    exchange: &Exchange,
) -> Option<(Response<Bytes>, Option<ProxyError>)> {
    let (mut response, error) = match failure {
        Failure::Gone => return None,
        Failure::Refused(error) => {
            let id = exchange.id().hyphenated().to_string();
            (problem(error, &id), Some(error))
        }
        Failure::Preflight => {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::NO_CONTENT;
            (response, None)
        }
        Failure::Document(document) => (document_of(document.as_deref()), None),
    };
    if let Some(governed) = &exchange.governed {
        governed.decorate(response.headers_mut());
        if let Some(ProxyError::RateLimited(_)) = error
            && let Some(seconds) = governed.retry_after()
        {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
    }
    Some((response, error))
}

/// The response to a request for a DID document. It may be kept for no longer than a resolver keeps
/// any: one that is withdrawn is to be gone soon.
fn document_of(document: Option<&Published>) -> Response<Bytes> {
    let body = document.map(|document| document.bytes.clone());
    let mut response = Response::new(body.unwrap_or_default());
    let headers = response.headers_mut();
    if document.is_some() {
        let json = HeaderValue::from_static("application/did+json");
        headers.insert(CONTENT_TYPE, json);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
    } else {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    }
    response
}

/// The response for `error`: `application/problem+json` (RFC 9457) with the request's id, by which
/// the gateway's log can be searched, and nothing of what is behind the gateway.
fn problem(error: ProxyError, request_id: &str) -> Response<Bytes> {
    let status = error.status();
    // No value needs escaping: titles and details are our own literals, the id is a token.
    let more = match error {
        // draft-ietf-httpapi-ratelimit-headers-10 section 5.
        ProxyError::RateLimited(scope) => format!(
            "\"type\":\"https://iana.org/assignments/http-problem-types#quota-exceeded\",\
             \"violated-policies\":[\"{scope}\"],"
        ),
        _ => String::new(),
    };
    let body = format!(
        "{{{more}\"title\":\"{}\",\"status\":{},\"detail\":\"{}\",\"request_id\":\"{}\"}}\n",
        status.canonical_reason().unwrap_or("Error"),
        status.as_u16(),
        error,
        request_id,
    );
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let after = match error {
            ProxyError::Overloaded(seconds) => seconds.into(),
            _ => HeaderValue::from_static(RETRY_AFTER_SECS),
        };
        headers.insert(RETRY_AFTER, after);
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        // CONNECT is not a method of any resource here; the list of the others is the app's.
        headers.insert(ALLOW, HeaderValue::from_static(""));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{callers::Denied, policy::Scope};

    #[test]
    fn every_error_is_valid_json_that_carries_the_id() {
        let errors = [
            ProxyError::BadRequest("the Host header is missing"),
            ProxyError::Connect,
            ProxyError::HttpVersion,
            ProxyError::UnknownProtocol,
            ProxyError::NoEndpoint,
            ProxyError::Caller(Denied::Unproven),
            ProxyError::Caller(Denied::Challenged),
            ProxyError::Caller(Denied::NotPermitted),
            ProxyError::Caller(Denied::Address),
            ProxyError::Caller(Denied::Busy),
            ProxyError::TargetTooLong,
            ProxyError::HeadersTooLarge,
            ProxyError::RequestTimeout,
            ProxyError::NoTunnel,
            ProxyError::Full,
            ProxyError::EndpointFull,
            ProxyError::TenantFull,
            ProxyError::Overloaded(7),
            ProxyError::RateLimited(Scope::Client),
            ProxyError::BodyTooLarge,
            ProxyError::Refused,
            ProxyError::ResponseTimeout,
            ProxyError::TooLarge,
            ProxyError::Unreachable,
            ProxyError::UpstreamFailed,
            ProxyError::TunnelLost,
            ProxyError::BadResponse,
            ProxyError::Unsupported,
        ];
        for error in errors {
            let response = problem(error, "id-1");
            let value: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(value["request_id"], "id-1");
            assert_eq!(value["status"], response.status().as_u16());
            assert_eq!(value["detail"], error.to_string());
            assert_eq!(
                response.headers().contains_key(RETRY_AFTER),
                response.status() == StatusCode::SERVICE_UNAVAILABLE
            );
            assert!(!error.is_retry_safe() || error.status().is_server_error());
        }
    }
}
