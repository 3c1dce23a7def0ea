//! A policy at work on one request.

use std::sync::Arc;

use anpx::{Fields, FieldsError, RequestHead};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header::HeaderName};

use super::{
    Policy,
    cors::{Grant, is_cors},
    prefix,
};
use crate::{
    error::ProxyError,
    proxy::{Downstream, Failure},
};

/// What a policy has to say of one request, until its response is over.
#[derive(Debug)]
pub(crate) struct Governed {
    policy: Arc<Policy>,
    cors: Option<Grant>,
    is_secure: bool,
}

impl Governed {
    /// Looks at a request that was routed. The value is kept until the response is over, also where
    /// [`Governed::admit`] refuses the request.
    pub(crate) fn new(policy: &Arc<Policy>, head: &RequestHead) -> Box<Self> {
        let cors = policy.cors.as_ref();
        Box::new(Self {
            cors: cors.map(|cors| cors.grant(&head.method, &head.headers)),
            is_secure: &head.scheme[..] == b"https",
            policy: policy.clone(),
        })
    }

    /// Lets the request go on to its app, changed where it must be.
    ///
    /// # Errors
    /// It is answered here.
    pub(crate) fn admit(
        &mut self,
        head: &mut RequestHead,
        down: &mut impl Downstream,
    ) -> Result<(), Failure> {
        let grant = self.cors.as_ref();
        if grant.is_some_and(|grant| grant.preflight.is_some()) {
            return Err(Failure::Preflight);
        }
        let policy = &*self.policy;
        if policy.response_timeout.is_some() || policy.idle_timeout.is_some() {
            down.allow(policy.response_timeout, policy.idle_timeout);
        }
        if let Some(prefix) = &policy.strip_prefix {
            head.target = prefix::strip(&head.target, prefix)?;
            head.headers = with(&head.headers, "x-forwarded-prefix", prefix)?;
        }
        Ok(())
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
        let has = |name: &[u8]| from.iter().any(|(n, _)| n == name);
        self.fields(has, |name, value| {
            result = result.and_then(|()| to.push(name, value));
        });
        result.map_err(|_: FieldsError| ProxyError::BadResponse)?;
        Ok(to.build())
    }

    /// Adds to an answer of the gateway's own what belongs there.
    pub(crate) fn decorate(&self, headers: &mut HeaderMap) {
        self.fields(
            |_| false,
            |name, value| {
                let field = (
                    HeaderName::from_bytes(name),
                    HeaderValue::from_maybe_shared(value.clone()),
                );
                if let (Ok(name), Ok(value)) = field {
                    headers.append(name, value);
                }
            },
        );
    }

    /// True for a field that counts for nothing where the app sets it.
    fn replaces(&self, name: &[u8]) -> bool {
        let security = self.policy.security.as_ref();
        self.cors.is_some() && is_cors(name) || security.is_some_and(|s| s.replaces(name))
    }

    /// Gives `add` the fields of a response; `has` says which the app set.
    fn fields(&self, has: impl Fn(&[u8]) -> bool, mut add: impl FnMut(&[u8], &Bytes)) {
        if let (Some(cors), Some(grant)) = (&self.policy.cors, &self.cors) {
            cors.fields(grant, |name, value| add(name.as_bytes(), &value));
        }
        if let Some(security) = &self.policy.security {
            security.fields(self.is_secure, has, |name, value| add(name, value));
        }
    }
}

/// `fields` and one more.
///
/// # Errors
/// 431 where that is too many.
fn with(fields: &Fields, name: &str, value: &str) -> Result<Fields, ProxyError> {
    let mut to = Fields::builder(fields.block().len() + 64);
    let pairs = fields.iter().chain([(name.as_bytes(), value.as_bytes())]);
    for (name, value) in pairs {
        to.push(name, value)
            .map_err(|_| ProxyError::HeadersTooLarge)?;
    }
    Ok(to.build())
}
