//! A policy at work on one request.

use std::sync::Arc;

use anpx::{Fields, FieldsError, RequestHead};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header::HeaderName};

use super::{
    Policy,
    cors::{Grant, is_cors},
};
use crate::{error::ProxyError, proxy::Failure};

/// What a policy has to say of one request, until its response is over.
#[derive(Debug)]
pub(crate) struct Governed {
    policy: Arc<Policy>,
    cors: Option<Grant>,
}

/// Applies `policy` to a request that was routed. What is left of it must be kept until its response
/// is over, also where it is refused here.
pub(crate) fn govern(policy: &Arc<Policy>, head: &RequestHead) -> Box<Governed> {
    let cors = policy.cors.as_ref();
    Box::new(Governed {
        cors: cors.map(|cors| cors.grant(&head.method, &head.headers)),
        policy: policy.clone(),
    })
}

impl Governed {
    /// Whether the request may go on to its app.
    ///
    /// # Errors
    /// It is answered here.
    pub(crate) fn admit(&self) -> Result<(), Failure> {
        let preflight = self
            .cors
            .as_ref()
            .and_then(|grant| grant.preflight.as_ref());
        match preflight {
            Some(_) => Err(Failure::Preflight),
            None => Ok(()),
        }
    }

    /// The fields of the app's response as its caller gets them.
    ///
    /// # Errors
    /// 502 where there are too many.
    pub(crate) fn shape(&self, from: &Fields) -> Result<Fields, ProxyError> {
        let mut to = Fields::builder(from.block().len() + 256);
        let mut result = Ok(());
        for (name, value) in from.iter().filter(|(name, _)| !self.replaces(name)) {
            result = result.and_then(|()| to.push(name, value));
        }
        self.fields(|name, value| {
            result = result.and_then(|()| to.push(name.as_bytes(), &value));
        });
        result.map_err(|_: FieldsError| ProxyError::BadResponse)?;
        Ok(to.build())
    }

    /// Adds to an answer of the gateway's own what belongs there.
    pub(crate) fn decorate(&self, headers: &mut HeaderMap) {
        self.fields(|name, value| {
            if let Ok(value) = HeaderValue::from_maybe_shared(value) {
                headers.append(HeaderName::from_static(name), value);
            }
        });
    }

    /// True for a field that counts for nothing where the app sets it.
    fn replaces(&self, name: &[u8]) -> bool {
        self.cors.is_some() && is_cors(name)
    }

    fn fields(&self, mut add: impl FnMut(&'static str, Bytes)) {
        if let (Some(cors), Some(grant)) = (&self.policy.cors, &self.cors) {
            cors.fields(grant, &mut add);
        }
    }
}
