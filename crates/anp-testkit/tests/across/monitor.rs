//! What a receiver tells of itself.

use anp_gateway::Shutdown;
use anp_receiver::{Monitor, Phase, Proxies, Snapshot};
use anp_testkit::{App, Caller, Rig, RunningGateway, RunningReceiver, rig, soon, until};
use anp_tunnel::units::Span;

/// How many there are of those called `name`.
fn count(counts: &[(&str, u64)], name: &str) -> u64 {
    let found = counts.iter().find(|(called, _)| *called == name);
    found.unwrap_or_else(|| panic!("no {name}")).1
}

/// Waits until so many requests are over.
async fn over(monitor: &Monitor, requests: u64) -> Snapshot {
    let all = |seen: &Snapshot| seen.requests.iter().map(|(_, n)| n).sum::<u64>();
    until(monitor, |seen| all(seen) == requests).await
}

async fn quick() -> App {
    App::start(|mut call| async move {
        while call.head().await.is_some() {
            call.answer("here").await;
        }
    })
    .await
}

#[tokio::test]
async fn a_request_is_counted_while_it_runs_and_once_it_is_over() {
    let (app, mut calls) = App::by_hand().await;
    let rig = Rig::start(&app).await;
    let monitor = rig.receiver.monitor();
    let before = monitor.snapshot();
    assert!(before.is_ready() && before.missing().is_empty());
    assert_eq!(before.name.as_deref(), Some("real"));
    assert_eq!(before.app_up, None);
    let [gateway] = &before.gateways[..] else {
        panic!("{before:?}");
    };
    assert_eq!(
        (gateway.ready, gateway.opened, gateway.in_flight),
        (1, 1, 0)
    );
    assert_eq!(gateway.url, format!("ws://{}", rig.tunnel()));

    let mut caller = rig.caller().await;
    caller.get("/").await;
    let mut call = soon(calls.recv()).await.unwrap();
    soon(call.head()).await.unwrap();
    assert_eq!(monitor.snapshot().gateways[0].in_flight, 1);
    call.send("HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n")
        .await;
    assert_eq!(soon(caller.response()).await.0.status, 404);
    let after = over(&monitor, 1).await;
    assert_eq!(count(&after.requests, "4xx"), 1);
    assert!(after.failures.iter().all(|(_, n)| *n == 0));
    let moved = |seen: &Snapshot| {
        let [now] = &seen.gateways[..] else {
            return false;
        };
        now.in_flight == 0 && now.received > gateway.received && now.sent > gateway.sent
    };
    until(&monitor, moved).await;
}

#[tokio::test]
async fn what_an_app_does_not_answer_is_counted_by_its_kind() {
    let app = App::refusing();
    let rig = Rig::start(&app).await;
    let monitor = rig.receiver.monitor();
    let mut caller = rig.caller().await;
    caller.get("/").await;
    assert_eq!(soon(caller.response()).await.0.status, 502);
    let seen = over(&monitor, 1).await;
    assert_eq!(count(&seen.requests, "failed"), 1);
    assert_eq!(count(&seen.failures, "unreachable"), 1);

    let (app, mut calls) = App::by_hand().await;
    let rig = Rig::start(&app).await;
    let monitor = rig.receiver.monitor();
    let mut caller = rig.caller().await;
    caller.get("/").await;
    let mut call = soon(calls.recv()).await.unwrap();
    soon(call.head()).await.unwrap();
    call.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        .await;
    soon(caller.head()).await;
    drop(call);
    let seen = over(&monitor, 1).await;
    assert_eq!(count(&seen.requests, "2xx"), 1);
    assert_eq!(count(&seen.failures, "broken"), 1);
}

#[tokio::test]
async fn a_caller_that_leaves_is_no_failure() {
    let (app, mut calls) = App::by_hand().await;
    let rig = Rig::start(&app).await;
    let monitor = rig.receiver.monitor();
    let mut caller = rig.caller().await;
    caller.get("/").await;
    let mut call = soon(calls.recv()).await.unwrap();
    soon(call.head()).await.unwrap();
    drop(caller);
    let seen = over(&monitor, 1).await;
    assert_eq!(count(&seen.requests, "aborted"), 1);
    assert!(seen.failures.iter().all(|(_, n)| *n == 0));
}

#[tokio::test]
async fn a_gateway_that_goes_away_is_missed_until_it_is_back() {
    let app = quick().await;
    let Rig {
        gateway,
        mut receiver,
    } = Rig::start(&app).await;
    let monitor = receiver.monitor();
    let mut caller = soon(Caller::connect(gateway.public())).await;
    caller.get("/").await;
    soon(caller.response()).await;
    let moved = monitor.snapshot().gateways[0].received;
    let config = anp_gateway::Config {
        listen: gateway.public(),
        tunnel_listen: gateway.tunnel(),
        ..rig::gateway_config()
    };
    let url = format!("ws://{}", gateway.tunnel());
    gateway.stop(Shutdown::Now).await;
    soon(receiver.lost()).await;
    let missed = |seen: &Snapshot| seen.gateways[0].failed > 0 && !seen.is_ready();
    let seen = until(&monitor, missed).await;
    let opened = seen.gateways[0].opened;
    assert!(seen.gateways[0].received >= moved);
    let [line] = &seen.missing()[..] else {
        panic!("{seen:?}");
    };
    assert!(
        line.starts_with(&format!("no tunnel to {url}: ")) && line.contains("; trying again"),
        "{line}"
    );
    let _gateway = RunningGateway::start(config).await;
    let seen = until(&monitor, Snapshot::is_ready).await;
    assert_eq!(seen.missing(), [""; 0]);
    until(&monitor, |seen| seen.gateways[0].opened == opened + 1).await;
}

#[tokio::test]
async fn a_gateway_is_given_up_only_where_another_is_left() {
    let app = quick().await;
    let gateway = RunningGateway::start(rig::gateway_config()).await;
    let absent = App::refusing().url().replace("http://", "ws://");
    let mut config = rig::receiver_config(&format!("ws://{}", gateway.tunnel()), &app.url());
    config.gateways.push(absent.parse().unwrap());
    config.max_reconnect_attempts = Some(0);
    let receiver = RunningReceiver::start_with(config, Proxies::none());
    let monitor = receiver.monitor();
    let both = |seen: &Snapshot| seen.gateways[0].ready == 1 && seen.gateways[1].given_up;
    let seen = until(&monitor, both).await;
    assert!(seen.is_ready());
    assert_eq!(seen.gateways[1].failed, 1);
    let [line] = &seen.missing()[..] else {
        panic!("{seen:?}");
    };
    assert!(
        line.starts_with(&format!("no tunnel to {absent}: ")),
        "{line}"
    );
    assert!(line.ends_with("; it is not tried again"), "{line}");
}

#[tokio::test]
async fn an_app_that_health_checks_find_down_is_told() {
    let app = App::refusing();
    let gateway = RunningGateway::start(rig::gateway_config()).await;
    let config = anp_receiver::Config {
        health_path: Some("/healthz".to_owned()),
        health_interval: Span::from_millis(1),
        ..rig::receiver_config(&format!("ws://{}", gateway.tunnel()), &app.url())
    };
    let receiver = RunningReceiver::start_with(config, Proxies::none());
    let monitor = receiver.monitor();
    assert_eq!(monitor.snapshot().app_up, Some(true));
    let down = |seen: &Snapshot| seen.app_up == Some(false) && seen.gateways[0].ready == 1;
    let seen = until(&monitor, down).await;
    assert!(!seen.is_ready());
    assert_eq!(seen.missing(), ["the app is down"]);
}

#[tokio::test]
async fn a_receiver_that_stops_is_not_ready_while_it_serves() {
    let (app, mut calls) = App::by_hand().await;
    let Rig { gateway, receiver } = Rig::start(&app).await;
    let monitor = receiver.monitor();
    let mut caller = soon(Caller::connect(gateway.public())).await;
    caller.get("/").await;
    let mut call = soon(calls.recv()).await.unwrap();
    soon(call.head()).await.unwrap();
    let stop = tokio::spawn(receiver.stop());
    let seen = until(&monitor, |seen| seen.phase == Phase::Stopping).await;
    assert!(!seen.is_ready());
    assert_eq!(seen.missing(), ["it is stopping"]);
    assert_eq!(seen.gateways[0].in_flight, 1);
    call.answer("whole").await;
    assert_eq!(soon(caller.response()).await.1, b"whole");
    soon(stop).await.unwrap();
    let seen = monitor.snapshot();
    assert_eq!(seen.phase, Phase::Ended);
    assert_eq!(count(&seen.requests, "2xx"), 1);
    assert_eq!(seen.gateways[0].ready, 0);
}

#[tokio::test]
async fn a_receiver_that_is_killed_has_ended() {
    let app = quick().await;
    let rig = Rig::start(&app).await;
    let monitor = rig.receiver.monitor();
    rig.receiver.kill().await;
    assert_eq!(monitor.snapshot().phase, Phase::Ended);
}
