//! A gateway, as Python starts and stops it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::{fd::AsRawFd as _, unix::net::UnixStream},
};

use anp_gateway::{Bound, Config, Gateway, Shutdown};
use anp_proxy::Names;
use parking_lot::Mutex;
use pyo3::{
    exceptions::{PyOSError, PyRuntimeError, PyValueError},
    prelude::*,
};
use tokio::sync::{oneshot, watch};

use crate::{
    receiver::bad,
    runner::{Runner, Stop},
};

/// Checked settings of a gateway: the `[gateway]` table.
#[pyclass(frozen, module = "anp_proxy._core")]
pub(crate) struct GatewaySettings(pub(crate) Config);

#[pymethods]
impl GatewaySettings {
    /// Settings from JSON.
    #[staticmethod]
    fn from_json(text: &str) -> PyResult<Self> {
        let config: Config = anp_proxy::settings(text, Names::default()).map_err(bad)?;
        config.validate().map_err(bad)?;
        Ok(Self(config))
    }
}

/// A gateway that runs.
#[pyclass(frozen, module = "anp_proxy._core")]
pub(crate) struct RunningGateway {
    runner: Runner,
    public: SocketAddr,
    tunnel: SocketAddr,
    ended: Mutex<oneshot::Receiver<Result<(), String>>>,
    /// Its other end is closed at the end.
    over: UnixStream,
}

#[pymethods]
impl RunningGateway {
    /// Opens the listeners and serves.
    #[new]
    fn new(py: Python<'_>, settings: &GatewaySettings) -> PyResult<Self> {
        let config = settings.0.clone();
        let (tell_bound, bound) = std::sync::mpsc::sync_channel(1);
        let (tell_ended, ended) = oneshot::channel();
        let (over, open) = UnixStream::pair()?;
        let runner = Runner::start("anp-gateway", move |stop| async move {
            let bound = match Gateway::bind(config).await {
                Ok(bound) => bound,
                Err(error) => {
                    let _ = tell_bound.send(Err(error));
                    return;
                }
            };
            let _ = tell_bound.send(Ok((bound.public_addr(), bound.tunnel_addr())));
            let _open = open;
            let _ = tell_ended.send(run(bound, stop).await);
        })?;
        let (public, tunnel) = match py.detach(move || bound.recv()) {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(anp_gateway::GatewayError::Config(error))) => {
                return Err(PyValueError::new_err(error.to_string()));
            }
            Ok(Err(error)) => return Err(PyOSError::new_err(error.to_string())),
            Err(_) => return Err(PyRuntimeError::new_err("the gateway's thread broke")),
        };
        Ok(Self {
            runner,
            public,
            tunnel,
            ended: Mutex::new(ended),
            over,
        })
    }

    /// Where callers connect: `http://HOST:PORT`.
    #[getter]
    fn url(&self) -> String {
        format!("http://{}", reachable(self.public))
    }

    /// Where receivers connect: `ws://HOST:PORT`.
    #[getter]
    fn tunnel_url(&self) -> String {
        format!("ws://{}", reachable(self.tunnel))
    }

    /// The descriptor that becomes readable once nothing is served any more.
    fn fileno(&self) -> i32 {
        self.over.as_raw_fd()
    }

    /// Why it ended by itself, once it has; `None` where it was told to.
    fn end(&self) -> Option<String> {
        match self.ended.lock().try_recv() {
            Ok(ended) => ended.err(),
            Err(_) => Some("the gateway's thread broke".to_owned()),
        }
    }

    /// Asks for a stop that lets requests end.
    fn stop(&self) {
        self.runner.stop(Stop::Graceful);
    }

    /// Asks for a stop now.
    fn kill(&self) {
        self.runner.stop(Stop::Now);
    }

    /// Waits until nothing of it runs.
    fn join(&self, py: Python<'_>) {
        py.detach(|| self.runner.join());
    }
}

async fn run(bound: Bound, mut stop: watch::Receiver<Stop>) -> Result<(), String> {
    let (tell, shutdown) = watch::channel(Shutdown::No);
    let following = async {
        loop {
            tell.send_replace(match *stop.borrow_and_update() {
                Stop::No => Shutdown::No,
                Stop::Graceful => Shutdown::Graceful,
                Stop::Now => Shutdown::Now,
            });
            if stop.changed().await.is_err() {
                tell.send_replace(Shutdown::Now);
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        ended = bound.run(shutdown) => ended.map_err(|error| error.to_string()),
        () = following => Ok(()),
    }
}

/// An address to connect to for a listener at `address`.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}
