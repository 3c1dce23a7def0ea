//! A real gateway and a real receiver in the test's process.

use std::{future::Future, net::SocketAddr, time::Duration};

use anp_gateway::{Endpoint, Gateway, GatewayError, Shutdown};
use anp_receiver::{Error, Event, Monitor, Proxies, Receiver, Reloaded, Reloader, Snapshot};
use anp_tunnel::units::Span;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

use crate::{App, Caller, Peer};

/// How long a step may take before its test fails. Nothing waits this long in a test that passes.
const STEP: Duration = Duration::from_secs(20);

/// Waits for one step of a test.
///
/// # Panics
/// It took 20 s.
#[track_caller]
pub fn soon<T>(step: impl Future<Output = T>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move {
        match timeout(STEP, step).await {
            Ok(done) => done,
            Err(_) => panic!("the step at {place} did not end in {STEP:?}"),
        }
    }
}

/// A gateway and one receiver that serves one app through it.
#[derive(Debug)]
pub struct Rig {
    /// The public side.
    pub gateway: RunningGateway,
    /// The private side. Its name is `real`.
    pub receiver: RunningReceiver,
}

impl Rig {
    /// A gateway that gives every path to any receiver, and a receiver whose tunnel is ready.
    pub async fn start(app: &App) -> Self {
        Self::with(gateway_config(), app).await
    }

    /// A gateway that gives paths below `/hostile` to receivers of that name and the rest to the
    /// real one, whose tunnel is ready. One worker serves all.
    pub async fn beside_hostile(app: &App) -> Self {
        let endpoint = |name: &str, path: &str| Endpoint {
            name: name.into(),
            host: None,
            path: path.into(),
            receivers: vec![name.into()],
            ..Endpoint::default()
        };
        let config = anp_gateway::Config {
            endpoints: vec![endpoint("real", "/"), endpoint("hostile", "/hostile")],
            // Tunnels of equal load take turns on one worker; several prefer their own.
            workers: Some(1),
            ..gateway_config()
        };
        Self::with(config, app).await
    }

    /// A gateway that gives every path to any receiver, and a receiver whose tunnel is ready and
    /// whose app is in this process: `receiver` makes it.
    ///
    /// # Panics
    /// Its settings are wrong.
    pub async fn in_process(
        receiver: impl FnOnce(anp_receiver::Config) -> Result<Receiver, Error>,
    ) -> Self {
        let gateway = RunningGateway::start(gateway_config()).await;
        let config = appless_config(&format!("ws://{}", gateway.tunnel));
        let made = receiver(config).expect("the settings are sound");
        let mut receiver = RunningReceiver::run(made.with_proxies(Proxies::none()));
        soon(receiver.ready()).await;
        Self { gateway, receiver }
    }

    async fn with(config: anp_gateway::Config, app: &App) -> Self {
        let gateway = RunningGateway::start(config).await;
        let mut receiver = RunningReceiver::start(gateway.tunnel, app);
        soon(receiver.ready()).await;
        Self { gateway, receiver }
    }

    /// Where callers connect.
    pub fn public(&self) -> SocketAddr {
        self.gateway.public
    }

    /// Where receivers connect.
    pub fn tunnel(&self) -> SocketAddr {
        self.gateway.tunnel
    }

    /// A connection to the public port.
    pub async fn caller(&self) -> Caller {
        soon(Caller::connect(self.public())).await
    }

    /// A hostile receiver on version 2, whose SETTINGS were exchanged.
    pub async fn hostile(&self) -> Peer {
        soon(Peer::ready(self.tunnel(), "/?receiver=hostile")).await
    }

    /// The body of a GET by a caller of its own.
    ///
    /// # Panics
    /// The answer is not a whole 200 with a length.
    pub async fn get(&self, target: &str) -> Vec<u8> {
        let mut caller = self.caller().await;
        caller.get(target).await;
        let (head, body) = soon(caller.response()).await;
        assert_eq!(head.status, 200, "{}", head.text);
        body
    }
}

/// A gateway that serves on free loopback ports.
#[derive(Debug)]
pub struct RunningGateway {
    public: SocketAddr,
    tunnel: SocketAddr,
    stop: watch::Sender<Shutdown>,
    run: JoinHandle<Result<(), GatewayError>>,
}

/// Settings with free loopback ports.
pub fn gateway_config() -> anp_gateway::Config {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    anp_gateway::Config {
        listen: free,
        tunnel_listen: free,
        workers: Some(2),
        // A receiver is ready when it has read the gateway's SETTINGS; the gateway may read the
        // receiver's a moment later, and requests wait for that.
        queue_timeout: Span::from_secs(20),
        access_log: false,
        ..anp_gateway::Config::default()
    }
}

/// Settings with one tunnel to `gateway` and quick reconnects, without an app.
fn appless_config(gateway: &str) -> anp_receiver::Config {
    anp_receiver::Config {
        gateways: vec![gateway.parse().expect("a gateway URL")],
        name: Some("real".into()),
        tunnels: 1,
        reconnect_delay: Span::from_millis(10),
        max_reconnect_delay: Span::from_millis(50),
        ..anp_receiver::Config::default()
    }
}

impl RunningGateway {
    /// Starts one.
    ///
    /// # Panics
    /// It cannot listen.
    pub async fn start(config: anp_gateway::Config) -> Self {
        let bound = Gateway::bind(config).await.expect("the gateway listens");
        let (public, tunnel) = (bound.public_addr(), bound.tunnel_addr());
        let (stop, shutdown) = watch::channel(Shutdown::No);
        let run = tokio::spawn(bound.run(shutdown));
        Self {
            public,
            tunnel,
            stop,
            run,
        }
    }

    /// Where callers connect.
    pub fn public(&self) -> SocketAddr {
        self.public
    }

    /// Where receivers connect.
    pub fn tunnel(&self) -> SocketAddr {
        self.tunnel
    }

    /// Stops it; ready once its ports are closed.
    ///
    /// # Panics
    /// It failed.
    pub async fn stop(self, how: Shutdown) {
        self.stop.send_replace(how);
        soon(self.run)
            .await
            .expect("the gateway does not panic")
            .expect("the gateway stops without an error");
    }
}

/// A receiver that serves one app.
#[derive(Debug)]
pub struct RunningReceiver {
    monitor: Monitor,
    reloader: Reloader,
    events: mpsc::UnboundedReceiver<Told>,
    stop: oneshot::Sender<()>,
    run: JoinHandle<Result<(), Error>>,
}

/// What a receiver told.
#[derive(Debug)]
enum Told {
    Ready,
    /// And why.
    Lost(String),
    GivenUp,
}

/// Settings of a receiver called `real` that holds one tunnel.
///
/// # Panics
/// The addresses are none.
pub fn receiver_config(gateway: &str, app: &str) -> anp_receiver::Config {
    anp_receiver::Config {
        to: vec![app.parse().expect("an app URL")],
        ..appless_config(gateway)
    }
}

impl RunningReceiver {
    /// Starts one that holds one tunnel to `gateway`.
    ///
    /// # Panics
    /// Its settings are wrong.
    pub fn start(gateway: SocketAddr, app: &App) -> Self {
        let config = receiver_config(&format!("ws://{gateway}"), &app.url());
        Self::start_with(config, Proxies::none())
    }

    /// Starts one with settings of the test's own.
    ///
    /// # Panics
    /// They are wrong.
    pub fn start_with(config: anp_receiver::Config, proxies: Proxies) -> Self {
        Self::run(
            Receiver::new(config)
                .expect("the settings are sound")
                .with_proxies(proxies),
        )
    }

    fn run(receiver: Receiver) -> Self {
        let (monitor, reloader) = (receiver.monitor(), receiver.reloader());
        let (told, events) = mpsc::unbounded_channel();
        let receiver = receiver.with_observer(move |event| {
            let _ = told.send(match event {
                Event::Ready { .. } => Told::Ready,
                Event::GivenUp { .. } => Told::GivenUp,
                Event::Lost { reason, .. } => Told::Lost(reason.to_string()),
                _ => return,
            });
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let run = tokio::spawn(receiver.run(async move {
            let _ = stopped.await;
        }));
        Self {
            monitor,
            reloader,
            events,
            stop,
            run,
        }
    }

    /// Waits until a tunnel is ready.
    ///
    /// # Panics
    /// The receiver gave up.
    pub async fn ready(&mut self) {
        while !matches!(self.next().await, Told::Ready) {}
    }

    /// Has it take up another configuration.
    ///
    /// # Panics
    /// That is wrong.
    pub async fn reload(&mut self, config: anp_receiver::Config) -> Reloaded {
        let reload = self.reloader.prepare(config);
        let reload = reload.expect("the settings are sound");
        soon(self.reloader.take_up(reload)).await
    }

    /// What it tells those who look at it; outlives it.
    pub fn monitor(&self) -> Monitor {
        self.monitor.clone()
    }

    /// Waits until a tunnel was lost or an attempt failed; gives the reason.
    ///
    /// # Panics
    /// The receiver gave up.
    pub async fn lost(&mut self) -> String {
        loop {
            if let Told::Lost(reason) = self.next().await {
                return reason;
            }
        }
    }

    async fn next(&mut self) -> Told {
        let told = self.events.recv().await.expect("the receiver runs");
        assert!(!matches!(told, Told::GivenUp));
        told
    }

    /// Stops it gracefully.
    ///
    /// # Panics
    /// It failed.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        soon(self.run)
            .await
            .expect("the receiver does not panic")
            .expect("the receiver stops without an error");
    }

    /// Ends it with all its sockets; ready once nothing of it runs on this runtime.
    pub async fn kill(self) {
        self.run.abort();
        let _ = self.run.await;
    }
}

/// Looks at a receiver until it is as `seen` wants it; gives what was seen then.
///
/// # Panics
/// It took 20 s.
#[track_caller]
pub fn until(
    monitor: &Monitor,
    seen: impl Fn(&Snapshot) -> bool,
) -> impl Future<Output = Snapshot> {
    soon(async move {
        loop {
            let snapshot = monitor.snapshot();
            if seen(&snapshot) {
                return snapshot;
            }
            tokio::task::yield_now().await;
        }
    })
}
