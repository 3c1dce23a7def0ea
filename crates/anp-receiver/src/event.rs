//! What a receiver tells the program it runs in, besides its log.

use std::{fmt, sync::Arc, time::Duration};

use anp_tunnel::Version;

use crate::error::Failure;

/// A change worth telling the user.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A tunnel takes requests now.
    Ready {
        /// The gateway's address as configured.
        gateway: &'a str,
        /// Which of the tunnels to that gateway, from 0.
        tunnel: u16,
        /// The wire version it speaks.
        version: Version,
    },
    /// The gateway said under which URLs callers reach this receiver. Told when they change.
    Granted {
        /// The gateway's address as configured.
        gateway: &'a str,
        /// The URLs.
        urls: &'a [String],
    },
    /// There is no tunnel in this place, and another attempt follows.
    Lost {
        /// The gateway's address as configured.
        gateway: &'a str,
        /// Which of the tunnels to that gateway, from 0.
        tunnel: u16,
        /// Why.
        reason: &'a Failure,
        /// When the next attempt is made, from now.
        retry_in: Duration,
        /// Which reconnect attempt that will be, from 1.
        attempt: u32,
    },
    /// The gateway will not be tried again.
    GivenUp {
        /// The gateway's address as configured.
        gateway: &'a str,
        /// Why.
        reason: &'a Failure,
    },
}

/// Is told of events.
type Observe = dyn Fn(&Event<'_>) + Send + Sync;

/// Where events go.
#[derive(Clone)]
pub(crate) struct Events(Option<Arc<Observe>>);

impl Events {
    /// Nowhere.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// To `observer`.
    pub(crate) fn to(observer: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(observer)))
    }

    pub(crate) fn send(&self, event: &Event<'_>) {
        if let Some(observer) = &self.0 {
            observer(event);
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Events").field(&self.0.is_some()).finish()
    }
}
