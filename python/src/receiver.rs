//! A receiver, as Python starts and stops it.

use std::sync::Arc;

use anp_proxy::Names;
use anp_receiver::{Config, Event, Receiver, Signer, TakeStreams};
use pyo3::{exceptions::PyValueError, prelude::*};
use tokio::sync::watch;

use crate::{
    bridge::{Bridge, Notice},
    dispatcher::Dispatcher,
    exchange::Exchange,
    runner::{Runner, Stop, reached},
};

/// What `anp_proxy.Receiver` takes of the table, and besides.
const NAMES: Names = Names {
    // Of `gateways` there is an argument; an app in this process needs none of the others, and only
    // the program without one serves `status_listen`.
    without: &["gateways", "to", "compress", "health_path", "status_listen"],
    besides: &[
        "gateway",
        "did",
        "key",
        "root_path",
        "lifespan",
        "max_message",
    ],
};

/// Checked settings of a receiver: the `[receiver]` table.
#[pyclass(frozen, module = "anp_proxy._core")]
pub(crate) struct ReceiverSettings {
    pub(crate) config: Config,
    /// What it proves itself with, where that is in no file.
    pub(crate) identity: Option<Identity>,
}

/// The texts of a DID document and of a private key in PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    did: String,
    key: String,
}

impl Identity {
    fn signer(&self) -> PyResult<Signer> {
        Signer::from_texts(&self.did, &self.key).map_err(bad)
    }
}

#[pymethods]
impl ReceiverSettings {
    /// Settings from JSON. `identity` is the text of a DID document and of a key in PEM.
    #[staticmethod]
    #[pyo3(signature = (text, identity=None))]
    fn from_json(text: &str, identity: Option<(String, String)>) -> PyResult<Self> {
        let config: Config = anp_proxy::settings(text, NAMES).map_err(bad)?;
        let identity = identity.map(|(did, key)| Identity { did, key });
        let mut checked = config.clone();
        if let Some(identity) = &identity {
            identity.signer()?;
            // The rules for an identity hold for one that is in no file, too.
            checked.did_document = Some("did".into());
            checked.did_key = Some("key".into());
        }
        checked.validate_streams().map_err(bad)?;
        Ok(Self { config, identity })
    }

    /// The same with other gateways.
    fn with_gateway(&self, url: &str) -> PyResult<Self> {
        let mut config = self.config.clone();
        config.gateways = vec![url.parse().map_err(bad)?];
        let identity = self.identity.clone();
        Ok(Self { config, identity })
    }

    /// The gateways' addresses.
    #[getter]
    fn gateways(&self) -> Vec<String> {
        self.config
            .gateways
            .iter()
            .map(ToString::to_string)
            .collect()
    }
}

/// A receiver that runs.
#[pyclass(frozen, module = "anp_proxy._core")]
pub(crate) struct RunningReceiver(Runner);

#[pymethods]
impl RunningReceiver {
    /// Starts one that gives its requests to `dispatcher`.
    #[new]
    fn new(settings: &ReceiverSettings, dispatcher: &Dispatcher) -> PyResult<Self> {
        let bridge = dispatcher.bridge();
        let taker: Arc<dyn TakeStreams> = Arc::clone(&bridge) as _;
        let observer = Arc::clone(&bridge);
        let mut receiver = Receiver::with_streams(settings.config.clone(), taker)
            .map_err(bad)?
            .with_observer(move |event| tell(&observer, event));
        if let Some(identity) = &settings.identity {
            receiver = receiver.with_signer(identity.signer()?);
        }
        let runner = Runner::start("anp-receiver", move |stop| run(receiver, stop, bridge))?;
        Ok(Self(runner))
    }

    /// Asks for a stop that lets requests end.
    fn stop(&self) {
        self.0.stop(Stop::Graceful);
    }

    /// Asks for a stop now.
    fn kill(&self) {
        self.0.stop(Stop::Now);
    }

    /// Waits until nothing of it runs.
    fn join(&self, py: Python<'_>) {
        py.detach(|| self.0.join());
    }
}

/// Tells of the end, whatever brings it.
struct End {
    bridge: Arc<Bridge<Exchange>>,
    ended: Result<(), String>,
}

impl Drop for End {
    fn drop(&mut self) {
        let ended = std::mem::replace(&mut self.ended, Ok(()));
        self.bridge.tell(Notice::Ended(ended));
    }
}

async fn run(receiver: Receiver, stop: watch::Receiver<Stop>, bridge: Arc<Bridge<Exchange>>) {
    let mut end = End {
        bridge,
        ended: Err("the receiver's thread broke".to_owned()),
    };
    let graceful = reached(stop.clone(), Stop::Graceful);
    end.ended = tokio::select! {
        ended = receiver.run(graceful) => ended.map_err(|error| error.to_string()),
        // Dropping the receiver closes everything at once.
        () = reached(stop, Stop::Now) => Ok(()),
    };
}

fn tell(bridge: &Bridge<Exchange>, event: &Event<'_>) {
    match event {
        Event::Ready {
            gateway, tunnel, ..
        } => bridge.tell(Notice::Ready {
            gateway: (*gateway).to_owned(),
            tunnel: *tunnel,
        }),
        Event::Granted { gateway, urls } => bridge.tell(Notice::Granted {
            gateway: (*gateway).to_owned(),
            urls: urls.to_vec(),
        }),
        Event::Lost {
            gateway,
            tunnel,
            reason,
            retry_in,
            ..
        } => bridge.tell(Notice::Lost {
            gateway: (*gateway).to_owned(),
            tunnel: *tunnel,
            reason: format!("{reason}; trying again in {:.1} s", retry_in.as_secs_f64()),
        }),
        // The end says why.
        _ => {}
    }
}

/// A setting that cannot be.
pub(crate) fn bad(error: impl ToString) -> PyErr {
    PyValueError::new_err(error.to_string())
}
