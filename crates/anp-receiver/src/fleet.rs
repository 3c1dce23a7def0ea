//! The gateways of a receiver, and the workers that carry the tunnels to them: what comes and goes
//! while it runs.

use std::{
    future::{Future as _, poll_fn},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::mpsc::{self, error::SendError},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::{error, info, warn};

use crate::{
    app::Source,
    config::MAX_TUNNELS,
    ends::Ends,
    error::Error,
    gateway::Gateway,
    monitor::Watched,
    place::{Place, deal},
    proof::Identity,
    reload::Next,
    settings::Settings,
    slot::Shared,
    stop::Stop,
    worker::{self, Order},
};

/// How long closing everything may take once a drain is over: the close handshakes (ANPX 3.9).
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Time between two looks at the addresses of gateways.
const BALANCE_INTERVAL: Duration = Duration::from_secs(15);

/// Gateways and workers of a receiver that runs. With the drop of it every tunnel is closed.
pub(crate) struct Fleet {
    watched: Arc<Watched>,
    shared: Shared,
    source: Source,
    settings: Arc<Settings>,
    /// Who the program says it is, whatever the configuration says.
    signer: Option<Arc<Identity>>,
    workers: Vec<mpsc::UnboundedSender<Order>>,
    balancing: Option<AbortOnDrop>,
    /// Each ends the tunnels to a gateway that the configuration has no more.
    leaving: Vec<(Arc<Gateway>, AbortOnDrop)>,
}

impl Fleet {
    /// Starts workers that hold tunnels as `settings` say.
    ///
    /// # Errors
    /// A thread could not be started.
    pub(crate) fn start(
        shared: &Shared,
        source: &Source,
        settings: Settings,
        signer: Option<Arc<Identity>>,
        watched: &Arc<Watched>,
    ) -> Result<(Self, Ends), Error> {
        let settings = Arc::new(settings);
        let mut fleet = Self {
            watched: Arc::clone(watched),
            shared: shared.clone(),
            source: source.clone(),
            settings: Arc::clone(&settings),
            signer,
            workers: Vec::new(),
            balancing: None,
            leaving: Vec::new(),
        };
        let dealt = deal(&watched.gateways(), &settings, watched.workers.len());
        let mut ends = Ends(Vec::with_capacity(dealt.len()));
        for (number, places) in dealt.into_iter().enumerate() {
            let sender = fleet.start_worker(number, places, &mut ends)?;
            fleet.workers.push(sender);
        }
        fleet.balance();
        Ok((fleet, ends))
    }

    /// Starts worker `number` with these places, whose end is then one of `ends`.
    fn start_worker(
        &self,
        number: usize,
        places: Vec<Place>,
        ends: &mut Ends,
    ) -> Result<mpsc::UnboundedSender<Order>, Error> {
        let (sender, orders) = mpsc::unbounded_channel();
        let counts = self.watched.workers.get(number);
        let start = worker::Start {
            shared: self.shared.clone(),
            source: self.source.clone(),
            settings: Arc::clone(&self.settings),
            places,
            orders,
            counts: counts.map(Arc::clone).unwrap_or_default(),
        };
        ends.0.push(worker::start(number, start)?);
        Ok(sender)
    }

    /// What it runs with.
    pub(crate) fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// Has every tunnel end.
    pub(crate) fn stops(&self, level: Stop) {
        let gateways = self.watched.gateways().into_iter();
        gateways
            .chain(self.watched.leaving())
            .for_each(|gateway| gateway.stops(level));
    }

    /// No gateway is looked after any more.
    pub(crate) fn rests(&mut self) {
        self.balancing = None;
    }

    /// Takes up what was read again. Workers that have ended are started again, and their ends are
    /// among `ends`.
    pub(crate) fn follow(&mut self, next: Next, ends: &mut Ends) {
        let Next {
            settings,
            app,
            tunnels,
            done,
        } = next;
        if let Some(mut settings) = settings {
            if let Some(signer) = &self.signer {
                settings.identity = Arc::clone(signer);
            }
            self.settings = Arc::new(*settings);
        }
        // Tunnels that are to go serve other endpoints, or as somebody else: they keep their app.
        if app || tunnels {
            for worker in &self.workers {
                let _ = worker.send(Order::Call {
                    settings: Arc::clone(&self.settings),
                    anew: tunnels,
                    done: done.clone(),
                });
            }
        }
        self.follow_gateways(tunnels, ends);
        self.balance();
    }

    /// Opens tunnels to gateways that are new, or all of them `anew`, and has those end that none is
    /// left for.
    fn follow_gateways(&mut self, anew: bool, ends: &mut Ends) {
        let config = &self.settings.config;
        let mut before = self.watched.gateways();
        let earlier = self.watched.leaving();
        let (mut gateways, mut fresh, mut left) = (Vec::new(), Vec::new(), Vec::new());
        for url in &config.gateways {
            let same = before.iter().position(|gateway| gateway.url == *url);
            let same = same.map(|at| before.remove(at));
            if let Some(same) = same.as_ref().filter(|g| !anew && !g.was_given_up()) {
                gateways.push(Arc::clone(same));
                continue;
            }
            let gateway = Gateway::new(url.clone(), config);
            let other = same
                .as_ref()
                .or_else(|| earlier.iter().find(|g| g.url == *url));
            let gateway = Arc::new(match other {
                Some(other) => gateway.instead_of(other),
                None => gateway,
            });
            left.extend(same);
            fresh.push(Arc::clone(&gateway));
            gateways.push(gateway);
        }
        left.append(&mut before);
        self.watched.follow(config, gateways.clone(), &left);
        // In this order: a worker whose last tunnel ends has more to do by then.
        self.open(&fresh, ends);
        self.leave(&gateways);
    }

    /// Has the workers open tunnels to these gateways.
    fn open(&mut self, gateways: &[Arc<Gateway>], ends: &mut Ends) {
        let leaving = self.watched.leaving();
        let dealt = deal(gateways, &self.settings, self.workers.len());
        for (number, mut places) in dealt.into_iter().enumerate() {
            if places.is_empty() {
                continue;
            }
            for place in &mut places {
                let url = &place.gateway.url;
                let before = leaving.iter().filter(|g| g.url == *url && g.takes_one());
                place.after = before.map(Arc::clone).collect();
            }
            let told = self
                .workers
                .get(number)
                .map(|w| w.send(Order::Open(places)));
            // All that it had to do was over.
            if let Some(Err(SendError(Order::Open(places)))) = told {
                match self.start_worker(number, places, ends) {
                    Ok(sender) => {
                        if let Some(worker) = self.workers.get_mut(number) {
                            *worker = sender;
                        }
                    }
                    Err(error) => error!("{error}"),
                }
            }
        }
    }

    /// Has the tunnels end to those gateways that are there no more: at once, or when another tunnel
    /// to the same address is there to take their requests.
    fn leave(&mut self, gateways: &[Arc<Gateway>]) {
        let leaving = self.watched.leaving();
        // Those that end already go on with that.
        self.leaving.retain(|(gateway, _)| {
            gateway.is_stopping() && leaving.iter().any(|g| Arc::ptr_eq(g, gateway))
        });
        for gateway in leaving.clone() {
            if gateway.is_stopping() {
                continue;
            }
            // Those that came after it, up to what there is now: where there is none, they end as well.
            let stays = gateways.iter().any(|g| g.url == gateway.url);
            let later = leaving.iter().skip_while(|g| !Arc::ptr_eq(g, &gateway));
            let later = later.skip(1).chain(gateways).filter(|_| stays);
            let later = later.filter(|g| g.url == gateway.url).map(Arc::clone);
            let leave = leave(
                Arc::clone(&self.watched),
                Arc::clone(&gateway),
                later.collect(),
                Arc::clone(&self.settings),
            );
            let task = AbortOnDrop(tokio::spawn(leave));
            self.leaving.push((gateway, task));
        }
    }

    /// Looks after the addresses of the gateways there are now.
    fn balance(&mut self) {
        let balance = balance(
            self.watched.gateways(),
            Arc::clone(&self.settings),
            self.workers.clone(),
        );
        self.balancing = Some(AbortOnDrop(tokio::spawn(balance)));
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.stops(Stop::Now);
    }
}

/// Ends the tunnels to `gateway`, once those to `later`, which are opened in their place, can take their
/// requests.
async fn leave(
    watched: Arc<Watched>,
    gateway: Arc<Gateway>,
    later: Vec<Arc<Gateway>>,
    settings: Arc<Settings>,
) {
    let config = &settings.config;
    let (receiver, url) = (config.name.as_deref(), &gateway.url);
    // What is counted of all of them is counted together.
    let ready = gateway.tunnels.ready();
    // One that was given up may have tunnels all the same: but for one place, say.
    let serves = ready > 0 || gateway.was_healthy() && !gateway.was_given_up();
    // There must not be two tunnels to one of version 1.
    if let Some(last) = later.last()
        && serves
        && !gateway.takes_one()
    {
        let usual = config.tunnels_per_gateway().into();
        tokio::select! {
            // One at least: what took it before is not forgotten for what may refuse it.
            () = have_opened(&later, ready.clamp(1, usual)) => {}
            () = last.is_given_up() => {
                warn!(receiver, gateway = %url, "the tunnels from before the reload serve on, with the settings they had");
                std::future::pending().await
            }
        }
        // Those at further addresses, of which there may be fewer now.
        let all = have_opened(&later, ready);
        let _ = timeout(config.handshake_timeout.0, all).await;
    }
    if !gateway.was_given_up() {
        info!(receiver, gateway = %url, drain_timeout = %config.drain_timeout, "tunnels from before the reload end");
    }
    gateway.stops(Stop::Drain);
    gateway.tunnels.forget_trouble();
    if timeout(config.drain_timeout.0, gateway.is_over())
        .await
        .is_err()
    {
        warn!(receiver, gateway = %url, "requests still in flight at the drain deadline are cut off");
        gateway.stops(Stop::Now);
        let _ = timeout(CLOSE_TIMEOUT, gateway.is_over()).await;
    }
    watched.forget(&gateway);
}

/// Waits until so many tunnels to `gateways` became ready, those to all of them together, or the one that
/// a gateway takes.
async fn have_opened(gateways: &[Arc<Gateway>], tunnels: usize) {
    let mut all: Vec<_> = gateways.iter().map(|gateway| gateway.opened()).collect();
    loop {
        let mut sum = 0;
        for (opened, gateway) in all.iter_mut().zip(gateways) {
            let opened = *opened.borrow_and_update() as usize;
            // Of version 1 one tunnel is all that there is to be.
            sum += if gateway.takes_one() {
                opened * tunnels
            } else {
                opened
            };
        }
        if sum >= tunnels {
            return;
        }
        let mut more: Vec<_> = all
            .iter_mut()
            .map(|opened| Box::pin(opened.changed()))
            .collect();
        poll_fn(|cx| {
            let news = more.iter_mut().any(|one| one.as_mut().poll(cx).is_ready());
            if news { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Gives every address of every gateway a tunnel: further places where there are more addresses than
/// `tunnels`, which go again once the addresses do, and a tunnel moved where one has several and another
/// none. Never ends.
async fn balance(
    gateways: Vec<Arc<Gateway>>,
    settings: Arc<Settings>,
    workers: Vec<mpsc::UnboundedSender<Order>>,
) {
    let tunnels = settings.config.tunnels_per_gateway();
    let mut turn = workers.iter().cycle();
    loop {
        for gateway in &gateways {
            // A name that cannot be resolved now is told of by whoever needs it.
            let Ok(addresses) = gateway.addresses.balance().await else {
                continue;
            };
            let wanted = u16::try_from(addresses.len()).unwrap_or(u16::MAX);
            let wanted = wanted.min(MAX_TUNNELS).max(tunnels);
            for index in gateway.extend(tunnels, wanted) {
                // One that has ended takes nothing.
                let worker = turn.by_ref().take(workers.len()).find(|w| !w.is_closed());
                if let Some(worker) = worker {
                    let place = Place::new(gateway, index, &settings);
                    let _ = worker.send(Order::Open(vec![place]));
                }
            }
            // A tunnel that is not there yet takes no other's place.
            let excess = gateway.tunnels.ready().saturating_sub(wanted.into());
            gateway.addresses.spare(&addresses, excess);
        }
        sleep(BALANCE_INTERVAL).await;
    }
}

/// A task that ends with whoever waits for it.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
