//! Tunnels and apps over TLS (rows 12, 17 and 38 of the threats are in anp-gateway's tests as well).

use std::net::SocketAddr;

use anp_gateway::{Config, TunnelTlsConfig};
use anp_receiver::Proxies;
use anp_testkit::{
    App, BodyEnd, Front, Rig, RunningGateway, RunningReceiver,
    rig::{gateway_config, receiver_config},
    soon,
};
use anp_tls::testing::{Authority, Files, put};

const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "gate.example"];

/// A gateway whose tunnels run over TLS, with this certificate.
async fn gateway(files: &Files, client_ca: Option<&Authority>) -> RunningGateway {
    RunningGateway::start(Config {
        tunnel_tls: Some(TunnelTlsConfig {
            cert: Some(files.cert.clone()),
            key: Some(files.key.clone()),
            client_ca: client_ca.map(Authority::file),
        }),
        ..gateway_config()
    })
    .await
}

fn wss(gateway: &RunningGateway) -> String {
    format!("wss://localhost:{}", gateway.tunnel().port())
}

/// A receiver's settings that trust the authority.
fn trusting(authority: &Authority, gateway: &str, app: &App) -> anp_receiver::Config {
    anp_receiver::Config {
        ca_file: Some(authority.file()),
        ..receiver_config(gateway, &app.url())
    }
}

/// An app that answers its requests one after the other with their number on the connection.
async fn counting() -> App {
    App::start(|mut call| async move {
        let mut count = 0;
        while call.head().await.is_some() {
            count += 1;
            call.answer(&count.to_string()).await;
        }
    })
    .await
}

async fn serving(gateway: RunningGateway, config: anp_receiver::Config, proxies: Proxies) -> Rig {
    let mut receiver = RunningReceiver::start_with(config, proxies);
    soon(receiver.ready()).await;
    Rig { gateway, receiver }
}

#[tokio::test]
async fn a_tunnel_carries_requests_over_tls_and_through_a_proxy() {
    let authority = Authority::new();
    let app = counting().await;
    let direct = gateway(&authority.issue("gate", &NAMES), None).await;
    let config = trusting(&authority, &wss(&direct), &app);
    let rig = serving(direct, config, Proxies::none()).await;
    assert_eq!(rig.get("/").await, b"1");

    let behind = gateway(&authority.issue("gate", &NAMES), None).await;
    let proxy = Front::proxy(behind.tunnel()).await;
    let proxies = Proxies::from_vars(|name| {
        (name == "https_proxy").then(|| format!("http://{}", proxy.addr()))
    });
    // The name is nobody's: only the proxy knows where it leads.
    let config = trusting(&authority, "wss://gate.example", &app);
    let rig = serving(behind, config, proxies.unwrap()).await;
    assert_eq!(rig.get("/").await, b"1");
}

/// Why a receiver does not connect to a gateway that shows `files`.
async fn refusal(files: &Files, change: impl FnOnce(&mut anp_receiver::Config)) -> String {
    let gateway = gateway(files, None).await;
    let app = App::refusing();
    let mut config = receiver_config(&wss(&gateway), &app.url());
    change(&mut config);
    let mut receiver = RunningReceiver::start_with(config, Proxies::none());
    soon(receiver.lost()).await
}

/// Row 38 of the threats.
#[tokio::test]
async fn certificates_that_prove_nothing_are_refused_with_the_reason() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let ca = authority.file();
    let trust = |c: &mut anp_receiver::Config| c.ca_file = Some(ca.clone());

    let unknown = refusal(&stranger.issue("gate", &NAMES), trust).await;
    assert!(unknown.contains("does not trust"), "{unknown}");
    assert!(unknown.contains("receiver.ca_file"), "{unknown}");

    let other = refusal(&authority.issue("other", &["other.example"]), trust).await;
    let text = "its certificate is for other.example, not for \"localhost\"";
    assert!(other.contains(text), "{other}");

    let expired = authority.issue("expired", &NAMES);
    let (cert, key) = authority.expired_pem(&NAMES);
    put(&expired.cert, &cert);
    put(&expired.key, &key);
    let expired = refusal(&expired, trust).await;
    assert!(expired.contains("expired on Mon, 01 Jan 2001"), "{expired}");

    // The reason is what the name says, not what a system's list happens to hold.
    let none = refusal(&authority.issue("gate", &NAMES), |_| {}).await;
    assert!(
        none.contains("does not trust") || none.contains("ca_file"),
        "{none}"
    );
}

#[tokio::test]
async fn skipping_the_check_is_possible() {
    let app = counting().await;
    let gateway = gateway(&Authority::new().issue("gate", &["other.example"]), None).await;
    let config = anp_receiver::Config {
        insecure_skip_verify: true,
        ..receiver_config(&wss(&gateway), &app.url())
    };
    let rig = serving(gateway, config, Proxies::none()).await;
    assert_eq!(rig.get("/").await, b"1");
}

#[tokio::test]
async fn a_gateway_can_demand_a_certificate_of_the_receiver() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let app = counting().await;
    let gateway = gateway(&authority.issue("gate", &NAMES), Some(&clients)).await;

    let without = trusting(&authority, &wss(&gateway), &app);
    let mut receiver = RunningReceiver::start_with(without, Proxies::none());
    let reason = soon(receiver.lost()).await;
    assert!(reason.contains("receiver.client_cert"), "{reason}");

    let showing = |files: Files| anp_receiver::Config {
        client_cert: Some(files.cert),
        client_key: Some(files.key),
        ..trusting(&authority, &wss(&gateway), &app)
    };
    let files = authority.issue("wrong", &["lab"]);
    let mut receiver = RunningReceiver::start_with(showing(files.clone()), Proxies::none());
    let reason = soon(receiver.lost()).await;
    assert!(reason.contains("does not accept"), "{reason}");

    // The receiver reads the file again, so it need not be started anew.
    let (cert, key) = clients.pem(&["lab"]);
    put(&files.key, &key);
    put(&files.cert, &cert);
    soon(receiver.ready()).await;
    let rig = Rig { gateway, receiver };
    assert_eq!(rig.get("/").await, b"1");
}

#[tokio::test]
async fn plain_and_tls_that_meet_are_told_apart() {
    let authority = Authority::new();
    let app = App::refusing();
    let secure = gateway(&authority.issue("gate", &NAMES), None).await;
    let plain = format!("ws://{}", secure.tunnel());
    let config = receiver_config(&plain, &app.url());
    let mut receiver = RunningReceiver::start_with(config, Proxies::none());
    let reason = soon(receiver.lost()).await;
    assert!(reason.contains("use wss://"), "{reason}");

    let plain = RunningGateway::start(gateway_config()).await;
    let config = trusting(&authority, &wss(&plain), &app);
    let mut receiver = RunningReceiver::start_with(config, Proxies::none());
    let reason = soon(receiver.lost()).await;
    assert!(reason.contains("use ws://"), "{reason}");
}

fn address(app: &App) -> SocketAddr {
    let url = app.url();
    url.split_once("://").unwrap().1.parse().unwrap()
}

/// A gateway, and a receiver that calls the app at `scheme` through `front`.
async fn before(authority: &Authority, scheme: &str, front: &Front) -> Rig {
    let gateway = RunningGateway::start(gateway_config()).await;
    let app = format!("{scheme}://localhost:{}", front.addr().port());
    let config = anp_receiver::Config {
        ca_file: Some(authority.file()),
        ..receiver_config(&format!("ws://{}", gateway.tunnel()), &app)
    };
    serving(gateway, config, Proxies::none()).await
}

#[tokio::test]
async fn an_app_over_tls_is_called_on_kept_connections() {
    let authority = Authority::new();
    let app = counting().await;
    let files = authority.issue("app", &NAMES);
    let front = Front::tls(address(&app), &files, "http/1.1", false).await;
    let rig = before(&authority, "https", &front).await;
    for count in ["1", "2", "3"] {
        assert_eq!(rig.get("/").await, count.as_bytes());
    }
}

#[tokio::test]
async fn an_app_can_be_called_over_http2_and_tls() {
    let app = App::http2(|_, mut answer| async move {
        let response = http::Response::new(());
        let mut body = answer.send_response(response, false).unwrap();
        body.send_data("over h2".into(), true).unwrap();
    })
    .await;
    let authority = Authority::new();
    let files = authority.issue("app", &NAMES);
    let front = Front::tls(address(&app), &files, "h2", false).await;
    let rig = before(&authority, "h2", &front).await;
    let mut caller = rig.caller().await;
    caller.get("/").await;
    assert_eq!(soon(caller.head()).await.status, 200);
    let (body, end) = soon(caller.chunks()).await;
    assert_eq!((&body[..], end), (&b"over h2"[..], BodyEnd::Whole));
}

#[tokio::test]
async fn an_app_whose_certificate_proves_nothing_is_not_called() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let app = counting().await;
    let files = stranger.issue("app", &NAMES);
    let front = Front::tls(address(&app), &files, "http/1.1", false).await;
    let rig = before(&authority, "https", &front).await;
    let mut caller = rig.caller().await;
    caller.get("/").await;
    assert_eq!(soon(caller.head()).await.status, 502);
}

/// Whoever cuts the connection to the app must not make half a body look whole.
#[tokio::test]
async fn a_body_that_ends_with_its_connection_must_end_in_tls_too() {
    let authority = Authority::new();
    let files = authority.issue("app", &NAMES);
    let (app, mut calls) = App::by_hand().await;
    for (rude, end) in [(false, BodyEnd::Whole), (true, BodyEnd::Broken)] {
        let front = Front::tls(address(&app), &files, "http/1.1", rude).await;
        let rig = before(&authority, "https", &front).await;
        let mut caller = rig.caller().await;
        caller.get("/").await;
        let mut call = soon(calls.recv()).await.unwrap();
        soon(call.head()).await.unwrap();
        call.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbody")
            .await;
        assert_eq!(soon(caller.head()).await.status, 200);
        assert_eq!(soon(caller.chunk()).await.unwrap(), "body");
        drop(call);
        assert_eq!(soon(caller.chunks()).await.1, end);
    }
}
