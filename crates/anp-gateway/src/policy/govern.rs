//! A policy at work on one request.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use anp_tunnel::RecvStream;
use anpx::{Fields, FieldsError, RequestHead, ResponseHead, session::End};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header::HeaderName};
use tokio::time::Instant;

use super::{
    bucket::{Bucket, Pace},
    cors::{Grant, is_cors},
    effective::{Clients, Policy},
    meter::{Left, Meter, Scope},
    prefix,
};
use crate::{
    alive::Life,
    callers::{CALLER_DID, Callers, Known},
    error::ProxyError,
    proxy::{Comments, Download, Downstream, Failure, Upload, request::client},
    worker::Worker,
};

/// What a policy has to say of one request, until its response is over.
#[derive(Debug)]
pub(crate) struct Governed {
    policy: Arc<Policy>,
    cors: Option<Grant>,
    is_secure: bool,
    /// Of the limits on requests, as far as they were looked at.
    left: Vec<Left>,
    /// What bodies take from.
    buckets: Vec<Arc<Bucket>>,
    /// Who the caller has shown to be.
    caller: Option<Known>,
    /// What the caller is told of the proof it showed, or has to show.
    told: Vec<(&'static str, Bytes)>,
    /// The body, too, is what was shown to be so far: then the caller may be told.
    is_proven: bool,
    /// Its place among the requests of its tenant.
    place: Option<Life>,
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
            left: Vec::new(),
            buckets: Vec::new(),
            caller: None,
            told: Vec::new(),
            is_proven: true,
            place: None,
        })
    }

    /// Lets the request go on, as far as its client counts.
    ///
    /// # Errors
    /// It is answered here.
    pub(crate) fn admit(
        &mut self,
        worker: &Worker,
        head: &RequestHead,
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
        let settings = worker.shared.settings.load();
        let clients = match &policy.clients {
            Clients::Free => None,
            Clients::Shared => settings.rates.clients(),
            Clients::Own(_, meters) => Some(&**meters),
        };
        let client = clients.map(|meters| meters.of(&client(head).into(), Instant::now()));
        if let Some(client) = client {
            self.meter(worker, Scope::Client, &client)?;
        }
        Ok(())
    }

    /// Counts the request toward the limits of its endpoint and its tenant, once its caller may make
    /// it: others must not use them up.
    ///
    /// # Errors
    /// 429, or 503, where it is one too many for one of them; those looked at before count it.
    pub(crate) fn count(&mut self, worker: &Worker) -> Result<(), ProxyError> {
        let policy = self.policy.clone();
        if let Some((_, endpoint)) = &policy.endpoint {
            self.meter(worker, Scope::Endpoint, endpoint)?;
        }
        let settings = worker.shared.settings.load();
        if let (Some(tenant), Some(meters)) = (&policy.tenant, settings.rates.tenants()) {
            let meter = meters.of(tenant, Instant::now());
            self.meter(worker, Scope::Tenant, &meter)?;
            self.place = begin(&meter, settings.rates.tenant_max)?;
        }
        Ok(())
    }

    /// Who may make the request, where not everybody may.
    pub(crate) fn callers(&self) -> Option<Arc<Callers>> {
        self.policy.callers.clone()
    }

    /// The caller has shown who it is.
    pub(crate) fn knows(&mut self, caller: Known) {
        self.caller = Some(caller);
    }

    /// Who the caller has shown to be.
    pub(crate) fn caller(&self) -> Option<&Known> {
        self.caller.as_ref()
    }

    /// The caller is told this with the answer, of its app or of the gateway, unless the body may be
    /// another than the one that was shown to be its own.
    pub(crate) fn tell(&mut self, fields: Vec<(&'static str, Bytes)>) {
        self.told = fields;
    }

    /// Takes note of what is known of the body by now.
    pub(crate) fn look_at(&mut self, upload: &Upload) {
        self.is_proven = !upload.is_unproven();
    }

    /// What the caller is told.
    fn told(&self) -> &[(&'static str, Bytes)] {
        match self.is_proven {
            true => &self.told,
            false => &[],
        }
    }

    /// Changes the request as its app shall see it.
    ///
    /// # Errors
    /// 400 where its target cannot be had without the prefix, 431 where its head grows too large.
    pub(crate) fn rewrite(&self, head: &mut RequestHead) -> Result<(), ProxyError> {
        if let Some(Known::Did(did)) = &self.caller {
            head.headers = with(&head.headers, CALLER_DID, did.as_str())?;
        }
        if let Some(prefix) = &self.policy.strip_prefix {
            head.target = prefix::strip(&head.target, prefix)?;
            head.headers = with(&head.headers, "x-forwarded-prefix", prefix)?;
        }
        Ok(())
    }

    /// Counts the request toward one limit.
    ///
    /// # Errors
    /// 429, where it is one too many.
    fn meter(&mut self, worker: &Worker, scope: Scope, meter: &Meter) -> Result<(), ProxyError> {
        match meter.request(scope) {
            Ok(left) => self.left.extend(left),
            Err(left) => {
                // What is left elsewhere does not help.
                self.left = vec![left];
                worker.metrics.rate_limited.fetch_add(1, Relaxed);
                return Err(ProxyError::RateLimited(scope));
            }
        }
        self.buckets.extend(meter.bytes.clone());
        Ok(())
    }

    /// What holds one direction of bodies back; nothing where nothing does.
    pub(crate) fn pace(&self) -> Option<Pace> {
        (!self.buckets.is_empty()).then(|| Pace::new(self.buckets.as_slice().into()))
    }

    /// What a response with this head is followed by.
    pub(crate) fn download(
        &self,
        recv: RecvStream,
        head: &ResponseHead,
        end: End,
        is_head: bool,
    ) -> Download {
        let every = self.policy.sse_keepalive;
        let comments = every.and_then(|every| Comments::new(every, head, end, is_head));
        Download::new(recv).policed(self.pace(), comments)
    }

    /// Seconds after which it is worth to try again, where the request was one too many.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        self.left.first().map(|left| left.reset)
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
        let told = || self.told().iter().any(|(ours, _)| ours.as_bytes() == name);
        self.cors.is_some() && is_cors(name) || told() || security.is_some_and(|s| s.replaces(name))
    }

    /// Gives `add` the fields of a response; `has` says which the app set.
    fn fields(&self, has: impl Fn(&[u8]) -> bool, mut add: impl FnMut(&[u8], &Bytes)) {
        for (name, value) in self.told() {
            add(name.as_bytes(), value);
        }
        if let (Some(cors), Some(grant)) = (&self.policy.cors, &self.cors) {
            cors.fields(grant, |name, value| add(name.as_bytes(), &value));
        }
        for (name, member) in [
            ("ratelimit-policy", Left::policy as fn(&Left) -> String),
            ("ratelimit", Left::limit),
        ] {
            if !self.left.is_empty() {
                let members: Vec<_> = self.left.iter().map(member).collect();
                add(name.as_bytes(), &members.join(", ").into());
            }
        }
        if let Some(security) = &self.policy.security {
            security.fields(self.is_secure, has, |name, value| add(name, value));
        }
    }
}

fn begin(meter: &Meter, most: Option<usize>) -> Result<Option<Life>, ProxyError> {
    most.map(|most| meter.begin(most).ok_or(ProxyError::TenantFull))
        .transpose()
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
