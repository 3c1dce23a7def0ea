//! What is written down about one request: counters and the access log.

use std::{
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use anpx::RequestHead;
use bytes::Bytes;
use tokio::time::Instant;
use uuid::Uuid;

use super::Upload;
use crate::{
    access_log::{self, Line, Outcome},
    alive::Life,
    error::ProxyError,
    listener::Listener,
    members::TunnelId,
    policy::Governed,
    route::Served,
    worker::Caller,
};

/// One request, from its head until its response is over. Dropping it writes it down.
#[derive(Debug)]
pub(crate) struct Exchange {
    caller: Arc<Caller>,
    started: Instant,
    id: Uuid,
    status: Option<u16>,
    error: Option<ProxyError>,
    outcome: Outcome,
    bytes: u64,
    log: Option<Box<Request>>,
    /// The endpoint, once it is known.
    pub(crate) endpoint: Option<Arc<Served>>,
    /// The tunnel that took the request last.
    pub(crate) tunnel: Option<TunnelId>,
    /// Its place among the requests of an endpoint that limits them.
    pub(crate) place: Option<Life>,
    /// What the policy of its endpoint says of it, where there is one.
    pub(crate) governed: Option<Box<Governed>>,
}

/// What only the access log needs.
#[derive(Debug)]
struct Request {
    client: Bytes,
    method: Bytes,
    host: Option<Bytes>,
    /// Without the query: people put secrets there.
    path: Bytes,
    /// Bytes of the body that came, counted where they are read.
    received: Arc<AtomicU64>,
}

impl Exchange {
    /// A request of `method` for `target`, as far as they could be read.
    pub(crate) fn begin(caller: &Arc<Caller>, method: &[u8], target: &[u8]) -> Self {
        caller.worker.metrics.in_flight.fetch_add(1, Relaxed);
        // Of who is sent on to https there is nothing to say: the request is still to come.
        let log = caller.listener != Listener::Redirect
            && caller.worker.shared.settings.load().config.access_log
            && access_log::enabled();
        Self {
            caller: caller.clone(),
            started: Instant::now(),
            id: Uuid::new_v4(),
            status: None,
            error: None,
            outcome: Outcome::Cancelled,
            bytes: 0,
            log: log.then(|| {
                let path = target.split(|b| *b == b'?').next().unwrap_or(target);
                Box::new(Request {
                    client: caller.origin.peer().clone(),
                    method: Bytes::copy_from_slice(method),
                    host: None,
                    path: Bytes::copy_from_slice(path),
                    received: Arc::default(),
                })
            }),
            endpoint: None,
            tunnel: None,
            place: None,
            governed: None,
        }
    }

    /// When its head had come.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// The request's id.
    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    /// The request has this head, and this is its body.
    pub(crate) fn is_of(&mut self, head: &RequestHead, upload: &mut Upload) {
        if let Some(log) = &mut self.log {
            if let Some(client) = &head.client_addr {
                log.client = client.clone();
            }
            // A copy: it outlives the rest of the head.
            log.host = Some(Bytes::copy_from_slice(&head.authority));
            upload.counted_by(&log.received);
        }
    }

    /// Takes note of what is known of the request's body by now, where that matters.
    pub(crate) fn look_at(&mut self, upload: &Upload) {
        if let Some(governed) = &mut self.governed {
            governed.look_at(upload);
        }
    }

    /// The response's head goes to the caller, after `error` where the gateway made it.
    pub(crate) fn answered(&mut self, status: u16, error: Option<ProxyError>) {
        self.caller.worker.metrics.head(self.started.elapsed());
        self.status = Some(status);
        self.error = error;
    }

    /// Body bytes went to the caller.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// The response is over.
    pub(crate) fn ended(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let worker = &self.caller.worker;
        worker.metrics.in_flight.fetch_sub(1, Relaxed);
        match &self.endpoint {
            Some(endpoint) => endpoint.pool.count(worker.index, self.status),
            None => worker.metrics.nowhere(self.status),
        }
        if let Some(request) = &self.log {
            access_log::write(&Line {
                client: &request.client,
                caller: self.governed.as_ref().and_then(|g| g.caller()),
                method: &request.method,
                host: request.host.as_deref(),
                path: &request.path,
                status: self.status,
                bytes: self.bytes,
                received: request.received.load(Relaxed),
                took: self.started.elapsed(),
                endpoint: self.endpoint.as_ref().map(|e| e.name.as_str()),
                request_id: self.id,
                tunnel: self.tunnel,
                outcome: self.outcome,
                cause: self.error.map(ProxyError::cause),
            });
        }
    }
}
