//! Receivers that take up another configuration while requests come.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

use anp_receiver::{Config, Proxies};
use anp_testkit::{
    App, Caller, RunningGateway, RunningReceiver,
    rig::{gateway_config, receiver_config},
    soon, until,
};
use anp_tunnel::units::Span;

/// Callers at once.
const CALLERS: usize = 8;

/// Requests between two reloads.
const BETWEEN: usize = 100;

async fn saying(body: &'static str) -> App {
    App::start(move |mut call| async move {
        while call.head().await.is_some() {
            call.answer(body).await;
        }
    })
    .await
}

fn config(gateways: &[&RunningGateway], app: &App) -> Config {
    let url = |gateway: &&RunningGateway| format!("ws://{}", gateway.tunnel()).parse();
    Config {
        gateways: gateways.iter().map(|g| url(g).unwrap()).collect(),
        ..receiver_config("ws://127.0.0.1", &app.url())
    }
}

async fn get(gateway: &RunningGateway) -> Vec<u8> {
    let mut caller = soon(Caller::connect(gateway.public())).await;
    caller.get("/").await;
    let (head, body) = soon(caller.response()).await;
    assert_eq!(head.status, 200, "{}", head.text);
    body
}

#[tokio::test]
async fn ten_reloads_lose_no_request() {
    let gateway = RunningGateway::start(gateway_config()).await;
    let apps = [saying("even").await, saying("odd").await];
    let mut config = config(&[&gateway], &apps[0]);
    config.tunnels = 2;
    let mut receiver = RunningReceiver::start_with(config.clone(), Proxies::none());
    soon(receiver.ready()).await;
    let (count, over) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (count, over, public) = (count.clone(), over.clone(), gateway.public());
            tokio::spawn(async move {
                let mut caller = soon(Caller::connect(public)).await;
                while !over.load(SeqCst) {
                    caller.get("/").await;
                    let (head, body) = soon(caller.response()).await;
                    assert_eq!(head.status, 200, "{}", head.text);
                    assert!(body == b"even" || body == b"odd");
                    count.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    for number in 1..=10 {
        // By turns the app alone, and the tunnels as well.
        config.to = vec![apps[number % 2].url().parse().unwrap()];
        if number % 3 == 0 {
            config.ping_interval = Span::from_secs(10 + number as u64);
        }
        let reloaded = receiver.reload(config.clone()).await;
        assert!(reloaded.changed.contains(&"to"));
        let enough = count.load(SeqCst) + BETWEEN;
        let answered = async {
            while count.load(SeqCst) < enough {
                assert!(callers.iter().all(|caller| !caller.is_finished()));
                tokio::task::yield_now().await;
            }
        };
        soon(answered).await;
    }
    over.store(true, SeqCst);
    for caller in callers {
        soon(caller).await.unwrap();
    }
    receiver.stop().await;
}

#[tokio::test]
async fn gateways_come_and_go_and_the_others_are_left_alone() {
    let (stays, comes) = (
        RunningGateway::start(gateway_config()).await,
        RunningGateway::start(gateway_config()).await,
    );
    let (app, mut calls) = App::by_hand().await;
    let one = config(&[&stays], &app);
    let both = config(&[&stays, &comes], &app);
    let mut receiver = RunningReceiver::start_with(one.clone(), Proxies::none());
    soon(receiver.ready()).await;
    assert_eq!(receiver.reload(both).await.changed, ["gateways"]);
    soon(receiver.ready()).await;

    // One request is under way through the gateway that goes.
    let mut caller = soon(Caller::connect(comes.public())).await;
    caller.get("/").await;
    let mut call = soon(calls.recv()).await.unwrap();
    soon(call.head()).await.unwrap();
    let monitor = receiver.monitor();
    receiver.reload(one.clone()).await;
    let seen = until(&monitor, |seen| seen.gateways[1].ready == 0).await;
    assert!(seen.gateways[1].leaving && seen.is_ready());
    assert_eq!((seen.gateways[1].in_flight, seen.missing()), (1, vec![]));
    call.answer("whole").await;
    assert_eq!(soon(caller.response()).await.1, b"whole");
    let seen = until(&monitor, |seen| seen.gateways.len() == 1).await;
    assert_eq!((seen.gateways[0].ready, seen.gateways[0].opened), (1, 1));

    let other = saying("other").await;
    let reloaded = receiver.reload(config(&[&stays], &other)).await;
    assert_eq!(reloaded.changed, ["to"]);
    assert_eq!(get(&stays).await, b"other");
    assert_eq!(monitor.snapshot().gateways[0].opened, 1);
    receiver.stop().await;
}

#[tokio::test]
async fn what_is_counted_goes_on_when_tunnels_are_replaced() {
    let gateway = RunningGateway::start(gateway_config()).await;
    let app = saying("here").await;
    let mut config = config(&[&gateway], &app);
    let mut receiver = RunningReceiver::start_with(config.clone(), Proxies::none());
    soon(receiver.ready()).await;
    assert_eq!(get(&gateway).await, b"here");
    config.name = Some("renamed".into());
    receiver.reload(config).await;
    soon(receiver.ready()).await;
    let renamed = |seen: &anp_receiver::Snapshot| {
        let [gateway] = &seen.gateways[..] else {
            return false;
        };
        (gateway.ready, gateway.opened, gateway.lost) == (1, 2, 0)
    };
    let seen = until(&receiver.monitor(), renamed).await;
    assert_eq!(seen.name.as_deref(), Some("renamed"));
    assert_eq!(get(&gateway).await, b"here");
    let answered = |seen: &anp_receiver::Snapshot| seen.requests.contains(&("2xx", 2));
    until(&receiver.monitor(), answered).await;
    receiver.stop().await;
}

#[tokio::test]
async fn an_app_that_takes_the_place_of_one_that_is_down_is_asked_first() {
    let gateway = RunningGateway::start(gateway_config()).await;
    let (down, up) = (App::refusing(), saying("here").await);
    let mut config = config(&[&gateway], &down);
    config.health_path = Some("/".into());
    config.health_interval = Span::from_millis(1);
    let mut receiver = RunningReceiver::start_with(config.clone(), Proxies::none());
    let monitor = receiver.monitor();
    soon(receiver.ready()).await;
    until(&monitor, |seen| seen.app_up == Some(false)).await;
    // Another way to call the same app does not bring it back.
    config.health_interval = Span::from_secs(3600);
    receiver.reload(config.clone()).await;
    assert_eq!(monitor.snapshot().app_up, Some(false));
    config.to = vec![up.url().parse().unwrap()];
    receiver.reload(config.clone()).await;
    until(&monitor, |seen| seen.app_up == Some(true)).await;
    assert_eq!(get(&gateway).await, b"here");
    config.health_path = None;
    receiver.reload(config).await;
    assert_eq!(monitor.snapshot().app_up, None);
    receiver.stop().await;
}
