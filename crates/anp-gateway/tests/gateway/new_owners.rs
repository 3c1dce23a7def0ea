//! Endpoints that go from one owner to another while both are connected.

use std::sync::{Arc, Mutex};

use anp_gateway::{Config, Endpoint, Gateway};
use anp_tunnel::TunnelConfig;
use anpx::session::Role;
use serde_json::json;
use tokio::task::JoinHandle;

use super::{
    api::Admin,
    support::{Caller, Running, answer, config, endpoint, run, start},
};

/// Changes of owner that each test makes.
const CHANGES: usize = 50;

/// `one` and `two` are connected whatever else becomes of their endpoints.
fn own_endpoints() -> Vec<Endpoint> {
    vec![endpoint("of-one", "one"), endpoint("of-two", "two")]
}

/// A receiver that answers with its name.
async fn serves(gateway: &Running, name: &'static str) -> JoinHandle<()> {
    let config = TunnelConfig::new(Role::Receiver);
    let receiver = gateway.receiver_with(name, config).await;
    tokio::spawn(async move {
        loop {
            answer(&mut receiver.accept().await, 200, name);
        }
    })
}

/// Connections that stay, on both workers.
async fn callers(gateway: &Running) -> Vec<Caller> {
    let mut callers = Vec::new();
    for _ in 0..8 {
        callers.push(gateway.caller().await);
    }
    callers
}

/// The endpoint `moved` is served by `name` and nobody else.
async fn is_served_by(callers: &mut [Caller], name: &str) {
    for caller in &mut *callers {
        caller.get("/moved").await;
    }
    for caller in callers {
        let head = caller.head().await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let got = caller.exactly(3).await;
        assert_eq!(String::from_utf8(got).unwrap(), name);
    }
}

#[tokio::test]
async fn once_a_change_is_answered_no_request_goes_to_the_owner_before() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = start(Config {
        endpoints: own_endpoints(),
        endpoint_store: Some(directory.path().join("endpoints.redb")),
        ..config()
    })
    .await;
    let _receivers = [serves(&gateway, "one").await, serves(&gateway, "two").await];
    let mut admin = Admin::connect(gateway.admin).await;
    let settings = |name| json!({"name": "moved", "path": "/moved", "receivers": [name]});
    admin.add(&settings("one")).await;
    let mut callers = callers(&gateway).await;
    is_served_by(&mut callers, "one").await;
    for name in ["two", "one"].into_iter().cycle().take(CHANGES) {
        let settings = settings(name).to_string();
        let (code, _, body) = admin.ask("PUT", "/endpoints/moved", &settings).await;
        assert_eq!(code, 200, "{body}");
        is_served_by(&mut callers, name).await;
    }
}

#[tokio::test]
async fn once_a_reload_is_over_no_request_goes_to_the_owner_before() {
    let with = |name| Config {
        endpoints: [own_endpoints(), vec![endpoint("moved", name)]].concat(),
        ..config()
    };
    let written = Arc::new(Mutex::new(with("one")));
    let bound = Gateway::bind(with("one")).await.unwrap();
    let read = written.clone();
    let bound = bound.reads(move || Ok(read.lock().unwrap().clone()));
    let reloader = bound.reloader();
    let gateway = run(bound);
    let _receivers = [serves(&gateway, "one").await, serves(&gateway, "two").await];
    let mut callers = callers(&gateway).await;
    is_served_by(&mut callers, "one").await;
    for name in ["two", "one"].into_iter().cycle().take(CHANGES) {
        *written.lock().unwrap() = with(name);
        reloader.reload().unwrap();
        is_served_by(&mut callers, name).await;
    }
}
