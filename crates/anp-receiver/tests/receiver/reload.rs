//! Another configuration for a receiver that runs.

use super::*;

async fn until(tunnel: &Tunnel, status: Status) {
    while tunnel.status() != status {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn another_app_gets_the_next_request_and_the_first_one_ends_what_it_has() {
    let gateway = Gateway::listen().await;
    let (first, second) = (App::listen().await, App::listen().await);
    let mut config = config(&gateway);
    config.to = first.to();
    let mut running = Running::start(config.clone());
    let tunnel = gateway.tunnel().await;
    let (_send, mut recv) = get(&tunnel);
    let asked = first.asked().await;

    config.to = second.to();
    let reloaded = running.reload(&config).await;
    assert_eq!((reloaded.changed, reloaded.kept), (vec!["to"], vec![]));
    let (_send, mut next) = get(&tunnel);
    assert_eq!(answered(second.asked().await, &mut next).await, ok());
    assert_eq!(answered(asked, &mut recv).await, ok());
    assert_eq!(tunnel.status(), Status::Ready);
}

#[tokio::test]
async fn connections_to_an_app_that_is_called_no_more_are_closed() {
    let gateway = Gateway::listen().await;
    let (first, second) = (App::listen().await, App::listen().await);
    let mut config = config(&gateway);
    config.to = first.to();
    let mut running = Running::start(config.clone());
    let tunnel = gateway.tunnel().await;
    let mut kept = Vec::new();
    // One is idle at the reload, one has a request then.
    let mut calls = [get(&tunnel), get(&tunnel)];
    for _ in &calls {
        kept.push(first.asked().await);
    }
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    kept[0].io.write_all(answer).await.unwrap();
    let [(_, one), (_, other)] = &mut calls;
    let was_first = tokio::select! {
        answer = whole(one) => { assert_eq!(answer, ok()); true }
        answer = whole(other) => { assert_eq!(answer, ok()); false }
    };
    config.to = second.to();
    running.reload(&config).await;
    assert_eq!(kept[0].io.read(&mut [0]).await.unwrap(), 0);
    kept[1].io.write_all(answer).await.unwrap();
    let rest = if was_first { other } else { one };
    assert_eq!(whole(rest).await, ok());
    assert_eq!(kept[1].io.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn new_tunnels_are_ready_before_the_old_end_and_each_has_its_app() {
    let gateway = Gateway::listen().await;
    let (first, second) = (App::listen().await, App::listen().await);
    let mut config = config(&gateway);
    (config.to, config.endpoints) = (first.to(), vec!["/a".into()]);
    let mut running = Running::start(config.clone());
    let old = gateway.tunnel().await;
    assert_eq!(running.event().await, "ready 0 V2");

    (config.to, config.endpoints) = (second.to(), vec!["/b".into()]);
    let reloaded = running.reload(&config).await;
    assert_eq!(reloaded.changed, ["to", "endpoints"]);
    let knock = gateway.knock().await;
    assert!(
        knock.head.contains("\r\nANPX-Endpoint: /b\r\n"),
        "{}",
        knock.head
    );
    // What the old one serves is for the app that it was opened for.
    let (_send, mut recv) = get(&old);
    let asked = first.asked().await;
    assert_eq!(old.status(), Status::Ready);

    let new = knock.accept(Version::V2).await;
    assert_eq!(running.event().await, "ready 0 V2");
    until(&old, Status::Draining).await;
    until(&new, Status::Ready).await;
    let (_send, mut next) = get(&new);
    assert_eq!(answered(second.asked().await, &mut next).await, ok());
    assert_eq!(answered(asked, &mut recv).await, ok());
    until(&old, Status::Closed).await;
}

#[tokio::test]
async fn where_the_new_tunnels_are_refused_the_old_serve_on_until_others_are_ready() {
    let gateway = Gateway::listen().await;
    let app = App::listen().await;
    let mut config = config(&gateway);
    config.to = app.to();
    let mut running = Running::start(config.clone());
    let old = gateway.tunnel().await;
    assert_eq!(running.event().await, "ready 0 V2");

    config.name = Some("stranger".into());
    running.reload(&config).await;
    let knock = gateway.knock().await;
    assert!(knock.head.contains("\r\nANP-Receiver: stranger\r\n"));
    knock.answer("HTTP/1.1 403 Forbidden\r\n\r\n").await;
    assert!(running.event().await.starts_with("given up "));
    let (_send, mut recv) = get(&old);
    assert_eq!(answered(app.asked().await, &mut recv).await, ok());

    config.name = Some("friend".into());
    running.reload(&config).await;
    let knock = gateway.knock().await;
    assert!(knock.head.contains("\r\nANP-Receiver: friend\r\n"));
    assert_eq!(old.status(), Status::Ready);
    let _new = knock.accept(Version::V2).await;
    assert_eq!(running.event().await, "ready 0 V2");
    until(&old, Status::Closed).await;
    running.stop();
    assert!(running.result.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_gateway_of_version_1_never_has_two_tunnels() {
    let gateway = Gateway::listen().await;
    let mut config = config(&gateway);
    let mut running = Running::start(config.clone());
    let old = gateway.knock().await.accept(Version::V1).await;
    assert_eq!(running.event().await, "ready 0 V1");
    config.ping_interval = Span::from_secs(7);
    running.reload(&config).await;
    let knock = gateway.knock().await;
    until(&old, Status::Closed).await;
    let _new = knock.accept(Version::V1).await;
    assert_eq!(running.event().await, "ready 0 V1");
}

#[tokio::test]
async fn a_gateway_that_is_gone_has_its_requests_until_the_deadline() {
    let (stays, goes) = (Gateway::listen().await, Gateway::listen().await);
    let app = App::listen().await;
    let mut config = config(&stays);
    config.to = app.to();
    config.gateways.extend(self::config(&goes).gateways);
    let mut running = Running::start(config.clone());
    let kept = stays.tunnel().await;
    for drain_timeout in [Span::from_secs(300), Span::ZERO] {
        let tunnel = goes.tunnel().await;
        let (_send, mut recv) = get(&tunnel);
        let asked = app.asked().await;
        let gateway = config.gateways.pop().unwrap();
        config.drain_timeout = drain_timeout;
        running.reload(&config).await;
        if !drain_timeout.is_zero() {
            until(&tunnel, Status::Draining).await;
            assert_eq!(answered(asked, &mut recv).await, ok());
        } else {
            assert_eq!(whole(&mut recv).await, None);
        }
        until(&tunnel, Status::Closed).await;
        // One that comes is connected at once.
        config.gateways.push(gateway);
        let reloaded = running.reload(&config).await;
        assert_eq!(reloaded.changed, ["gateways"]);
    }
    goes.tunnel().await;
    assert_eq!(kept.status(), Status::Ready);
}

#[tokio::test]
async fn a_gateway_that_was_given_up_is_asked_again() {
    let (takes, refuses) = (Gateway::listen().await, Gateway::listen().await);
    let mut config = config(&takes);
    config.gateways.extend(self::config(&refuses).gateways);
    let mut running = Running::start(config.clone());
    let kept = takes.tunnel().await;
    let knock = refuses.knock().await;
    knock.answer("HTTP/1.1 403 Forbidden\r\n\r\n").await;
    while !running.event().await.starts_with("given up ") {}
    assert_eq!(running.reload(&config).await, Reloaded::default());
    refuses.tunnel().await;
    assert_eq!(running.event().await, "ready 0 V2");
    assert_eq!(kept.status(), Status::Ready);
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_what_takes_a_restart_is_named() {
    let gateway = Gateway::listen().await;
    let good = config(&gateway);
    let mut running = Running::start(good.clone());
    let tunnel = gateway.tunnel().await;
    for change in [
        |c: &mut Config| c.to.clear(),
        |c| c.status_listen = Some(([127, 0, 0, 1], 1).into()),
        |c| c.token_file = Some("/nonexistent/token".into()),
        |c| c.ca_file = Some("/nonexistent/ca.pem".into()),
    ] as [fn(&mut Config); 4]
    {
        let mut config = good.clone();
        change(&mut config);
        assert!(running.reloader.prepare(config).is_err());
    }
    let mut config = good;
    config.workers = 2;
    for _ in 0..2 {
        let reloaded = running.reload(&config).await;
        assert_eq!((reloaded.changed, reloaded.kept), (vec![], vec!["workers"]));
    }
    assert_eq!(tunnel.status(), Status::Ready);
    running.stop();
    running.result.await.unwrap().unwrap();
    // Nothing is left to take it up, and nobody waits for that.
    config.max_streams = 1;
    let reload = running.reloader.prepare(config).unwrap();
    running.reloader.take_up(reload).await;
}

#[tokio::test]
async fn a_gateway_given_up_for_one_place_is_asked_for_all_while_the_other_serves() {
    for is_first in [true, false] {
        let gateway = Gateway::listen().await;
        let app = App::listen().await;
        let mut config = config(&gateway);
        (config.to, config.workers, config.tunnels) = (app.to(), 2, 2);
        config.max_reconnect_attempts = Some(1);
        let mut running = Running::start(config.clone());
        let (first, second) = (gateway.tunnel().await, gateway.tunnel().await);
        let (lost, kept) = match is_first {
            true => (first, second),
            false => (second, first),
        };
        lost.close(CloseCode::GOING_AWAY, "away");
        loop {
            tokio::select! {
                knock = gateway.knock() => {
                    knock.answer("HTTP/1.1 503 Service Unavailable\r\n\r\n").await;
                }
                event = running.event() => if event.starts_with("given up ") { break },
            }
        }
        let served = async || {
            let (_send, mut recv) = get(&kept);
            answered(app.asked().await, &mut recv).await
        };
        assert_eq!(served().await, ok());
        assert_eq!(running.reload(&config).await, Reloaded::default());
        let knock = gateway.knock().await;
        assert_eq!(served().await, ok());
        let _new = knock.accept(Version::V2).await;
        let _other = gateway.tunnel().await;
        until(&kept, Status::Closed).await;
        running.stop();
        assert!(running.result.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn a_reload_while_the_gateway_is_away_does_not_forget_that_it_took_us() {
    let gateway = Gateway::listen().await;
    let app = App::listen().await;
    let mut config = config(&gateway);
    config.to = app.to();
    let mut running = Running::start(config.clone());
    gateway.tunnel().await.close(CloseCode::GOING_AWAY, "away");
    let back = gateway.knock().await;

    config.name = Some("stranger".into());
    running.reload(&config).await;
    let knock = gateway.knock().await;
    assert!(knock.head.contains("\r\nANP-Receiver: stranger\r\n"));
    knock.answer("HTTP/1.1 403 Forbidden\r\n\r\n").await;
    while !running.event().await.starts_with("given up ") {}
    let tunnel = back.accept(Version::V2).await;
    assert_eq!(running.event().await, "ready 0 V2");
    until(&tunnel, Status::Ready).await;
    let (_send, mut recv) = get(&tunnel);
    assert_eq!(answered(app.asked().await, &mut recv).await, ok());
}

#[tokio::test]
async fn an_app_that_is_down_stays_so_through_a_reload() {
    let gateway = Gateway::listen().await;
    let (well, ill) = (App::listen().await, App::listen().await);
    let mut config = config(&gateway);
    config.to = [well.to(), ill.to()].concat();
    config.health_path = Some("/health".into());
    config.health_interval = Span::from_millis(300);
    for (app, status) in [(well, 200), (ill, 500)] {
        tokio::spawn(async move {
            loop {
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
                );
                app.asked().await.answer(&answer).await;
            }
        });
    }
    let mut running = Running::start(config.clone());
    let tunnel = gateway.tunnel().await;
    let all_well = async |tunnel: &Tunnel| {
        let mut all = true;
        for _ in 0..8 {
            let (_send, mut recv) = get(tunnel);
            all &= whole(&mut recv)
                .await
                .is_some_and(|(status, _)| status == 200);
        }
        all
    };
    while !all_well(&tunnel).await {}
    config.pool_max_idle = 7;
    running.reload(&config).await;
    assert!(all_well(&tunnel).await);
    config.max_streams = 7;
    running.reload(&config).await;
    assert!(all_well(&gateway.tunnel().await).await);
}

#[tokio::test]
async fn a_gateway_that_is_gone_has_no_tunnel_left_of_those_that_waited_for_others() {
    let (stays, goes) = (Gateway::listen().await, Gateway::listen().await);
    let mut config = config(&stays);
    config.gateways.extend(self::config(&goes).gateways);
    let mut running = Running::start(config.clone());
    let _kept = stays.tunnel().await;
    let old = goes.tunnel().await;
    let mut held = Vec::new();
    for name in ["one", "two"] {
        config.name = Some(name.into());
        running.reload(&config).await;
        held.push((stays.tunnel().await, goes.knock().await));
    }
    assert_eq!(old.status(), Status::Ready);
    config.gateways.pop();
    running.reload(&config).await;
    until(&old, Status::Closed).await;
}
