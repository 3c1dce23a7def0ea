//! What a service learns of a request besides the request.

use std::net::SocketAddr;

use anpx::RequestHead;
use bytes::Bytes;

/// In the extensions of every request: who sent it, and how.
///
/// ```
/// use anp_receiver::{Body, Caller};
///
/// fn who(request: &http::Request<Body>) -> String {
///     match request.extensions().get::<Caller>().and_then(Caller::address) {
///         Some(address) => address.to_string(),
///         None => "unknown".to_owned(),
///     }
/// }
/// # assert_eq!(who(&http::Request::new(Body::empty())), "unknown");
/// ```
#[derive(Clone, Debug)]
pub struct Caller {
    address: Option<Bytes>,
    request_id: Bytes,
    scheme: Bytes,
}

impl Caller {
    pub(super) fn of(head: &RequestHead) -> Self {
        Self {
            address: head.client_addr.clone(),
            request_id: head.request_id.clone(),
            scheme: head.scheme.clone(),
        }
    }

    /// The caller's address as the gateway saw it, after its rules for trusted proxies; `None`
    /// where the gateway did not say (ANPX 3.3, version 1).
    pub fn address(&self) -> Option<SocketAddr> {
        text(self.address.as_ref()?).parse().ok()
    }

    /// The request's id in the logs of gateway and receiver, sent as `x-request-id`, too.
    pub fn request_id(&self) -> &str {
        text(&self.request_id)
    }

    /// How the caller reached the gateway: `http` or `https`.
    pub fn scheme(&self) -> &str {
        text(&self.scheme)
    }
}

/// The wire's rules make these ASCII.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
