//! Gateway and receiver in one process, with the user's app or the sample app behind them.

use std::{
    future::pending,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Once},
};

use anp_gateway::Bound;
use anp_receiver::{AppUrl, Event, GatewayUrl, Receiver};
use anp_tunnel::units::Span;
use tokio::sync::watch;

use super::{
    apps, descriptors, failures,
    gateway::{bind, run_gateway, url},
    receivers::run_receiver,
    serving::{follow, list, serve, start_log},
    status,
};
use crate::{
    config::Loaded,
    demo::{Demo, curl_lines},
    exit::Failure,
    signals::Stop,
    status::Watched,
    stdout,
};

/// Runs gateway and receiver in front of the user's app until told to stop.
///
/// # Errors
/// A setting is wrong, an address cannot be listened on, or either side failed.
pub(crate) fn dev(mut loaded: Loaded) -> Result<u8, Failure> {
    loaded.check_single("anp-proxy dev has one app, that of receiver.to or --to")?;
    prepare(&mut loaded)?;
    serve(async {
        let stop = follow()?;
        let bound = bind(&loaded).await?;
        let line = format!("{} → {}", url(&bound), list(&loaded.config.receiver.to));
        tokio::spawn(apps::warn_unreachable(loaded.config.receiver.clone()));
        both(bound, &loaded, stop, line).await
    })
}

/// Runs gateway, receiver and the sample app until told to stop.
///
/// # Errors
/// As [`dev`].
pub(crate) fn demo(mut loaded: Loaded) -> Result<u8, Failure> {
    // Its own app is the point of it, whatever the configuration says of others.
    loaded.apps.clear();
    loaded.config.receiver.to = vec![app_at(SocketAddr::from(([127, 0, 0, 1], 1)))?];
    prepare(&mut loaded)?;
    serve(async {
        let stop = follow()?;
        let bound = bind(&loaded).await?;
        let app = Demo::bind()
            .await
            .map_err(|error| Failure::runtime(format!("cannot start the sample app: {error}")))?;
        loaded.config.receiver.to = vec![app_at(app.address())?];
        tokio::spawn(app.serve());
        let base = url(&bound);
        let mut text = format!("{base} → the sample app\n\nTry in another terminal:\n");
        for (what, command) in curl_lines(&base) {
            text.push_str(&format!("  {command}\n      {what}\n"));
        }
        text.push_str("\nCtrl-C stops it.");
        both(bound, &loaded, stop, text).await
    })
}

/// Checks everything before a port opens. Where the receiver connects is known only afterwards;
/// what the configuration says of gateways is meant for the `receiver` command.
fn prepare(loaded: &mut Loaded) -> Result<(), Failure> {
    prepare_both(loaded)?;
    loaded.check_gateway()?;
    loaded.check_receiver()?;
    loaded.check_gateway_files()?;
    loaded.check_receiver_files()?;
    start_log(loaded)?;
    descriptors::raise();
    Ok(())
}

/// Sets what follows from gateway and receiver being one process.
pub(crate) fn prepare_both(loaded: &mut Loaded) -> Result<(), Failure> {
    // Who runs both in a terminal wants to see requests pass.
    let log_requests = loaded.origin("gateway", "access_log").is_none();
    let gateway = &mut loaded.config.gateway;
    gateway.access_log |= log_requests;
    // Nobody leads callers here, and the receiver stops together with the gateway.
    gateway.stop_delay = Span::ZERO;
    // The tunnel stays inside this process.
    (gateway.plain_tunnels, gateway.tunnel_tls) = (true, None);
    if gateway.endpoints.is_empty() {
        gateway.open.get_or_insert(true);
    }
    loaded.config.receiver.gateways = vec![gateway_at(SocketAddr::from(([127, 0, 0, 1], 1)))?];
    Ok(())
}

/// Runs both, and says `ready` once requests get through. Both stop at the same signal: requests under
/// way end, and the receiver does not look for another gateway.
async fn both(
    bound: Bound,
    loaded: &Loaded,
    stop: watch::Receiver<Stop>,
    ready: String,
) -> Result<(), Failure> {
    let listener = status::listen(loaded).await?;
    let mut config = loaded.receiver();
    config.gateways = vec![gateway_at(reachable(bound.tunnel_addr()))?];
    let said = Once::new();
    let receiver = Receiver::new(config)
        .map_err(failures::receiver)?
        .with_observer(move |event| {
            if matches!(event, Event::Ready { .. }) {
                said.call_once(|| stdout::mention(&ready));
            }
        });
    if let Some(listener) = listener {
        let watched = Watched::default();
        watched.follow(vec![receiver.monitor()]);
        listener.serve(Arc::new(watched));
    }
    // Either's failure ends the other: alone neither serves anything.
    tokio::try_join!(
        // The receiver is the first to hear of a stop, or it would take the gateway's drain for news.
        biased;
        run_receiver(receiver, stop.clone(), pending()),
        run_gateway(bound, loaded, stop, || {})
    )?;
    Ok(())
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

fn gateway_at(address: SocketAddr) -> Result<GatewayUrl, Failure> {
    let parsed = format!("ws://{address}").parse();
    parsed.map_err(|error| Failure::runtime(format!("{error}")))
}

fn app_at(address: SocketAddr) -> Result<AppUrl, Failure> {
    let parsed = format!("http://{address}").parse();
    parsed.map_err(|error| Failure::runtime(format!("{error}")))
}
