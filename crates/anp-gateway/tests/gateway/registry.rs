//! Endpoints that come, change and go by the admin listener.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use anp_gateway::{Config, Endpoint, Gateway, Shutdown};
use anp_tunnel::TunnelConfig;
use anpx::session::Role;
use serde_json::{Value, json};

use crate::{
    api::Admin,
    support::{Caller, Receiver, Running, answer, config, following, run, soon, start},
};

/// Endpoints come by the registry in `path` only.
fn registry(path: &Path) -> Config {
    Config {
        open: Some(false),
        endpoint_store: Some(path.to_owned()),
        ..config()
    }
}

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("endpoints.redb");
    (directory, path)
}

async fn stop(gateway: Running) {
    gateway.shutdown.send_replace(Shutdown::Now);
    soon(gateway.ended).await.unwrap().unwrap();
}

async fn status(gateway: &Running, target: &str) -> String {
    gateway.get(target).await[9..12].to_owned()
}

#[tokio::test]
async fn endpoints_come_change_and_go_at_once_and_outlive_the_gateway() {
    let (_directory, path) = scratch();
    let gateway = start(registry(&path)).await;
    let mut admin = Admin::connect(gateway.admin).await;
    assert_eq!(admin.get("/endpoints").await["total"], 0);
    assert_eq!(status(&gateway, "/a").await, "404");

    let added = admin
        .add(&json!({"name": "a", "path": "/a", "receivers": ["r"]}))
        .await;
    assert_eq!(added["source"], "registry");
    assert_eq!(added["owners"], json!(["r"]));
    assert_eq!(added["place"], "*/a");
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller.get("/a").await;
    answer(&mut receiver.accept().await, 200, "ok");
    caller.until("\r\n\r\nok").await;
    assert_eq!(admin.get("/endpoints/a").await["tunnels"], 1);

    // Its tunnels stay; requests follow the new place.
    let changed = json!({"path": "/b", "receivers": ["r"], "max_body_size": 1024});
    let (code, _, body) = admin.ask("PUT", "/endpoints/a", &changed.to_string()).await;
    assert_eq!(
        (code, &body["settings"]["max_body_size"]),
        (200, &json!("1KiB"))
    );
    // The exchange above counts a moment after its answer.
    while admin.get("/endpoints/a").await["requests"]["2xx"] != 1 {}
    assert_eq!(status(&gateway, "/a").await, "404");
    caller.get("/b").await;
    answer(&mut receiver.accept().await, 200, "ok");
    caller.until("\r\n\r\nok").await;
    caller
        .send("POST /b HTTP/1.1\r\nhost: h\r\ncontent-length: 1025\r\n\r\n")
        .await;
    assert!(caller.head().await.starts_with("HTTP/1.1 413"));

    admin
        .add(&json!({"name": "other", "path": "/other", "owner": "did:wba:a.example", "receivers": ["x"]}))
        .await;
    drop((receiver, caller));
    stop(gateway).await;

    let gateway = start(registry(&path)).await;
    let mut admin = Admin::connect(gateway.admin).await;
    let page = admin.get("/endpoints").await;
    assert_eq!(page["total"], 2);
    assert_eq!(
        page["endpoints"][0]["settings"],
        json!({
            "name": "a", "path": "/b", "receivers": ["r"], "max_body_size": "1KiB"
        })
    );
    assert_eq!(
        page["endpoints"][1]["owners"],
        json!(["did:wba:a.example", "x"])
    );
    let receiver = gateway.receiver().await;

    // Another owner: the one before has nothing left, the new one may come.
    let changed = r#"{"path": "/b", "receivers": ["s"]}"#;
    assert_eq!(admin.ask("PUT", "/endpoints/a", changed).await.0, 200);
    let closed = soon(receiver.driver).await.unwrap();
    assert_eq!(closed.code.map(|c| c.0), Some(4004));
    let receiver = gateway
        .receiver_with("s", TunnelConfig::new(Role::Receiver))
        .await;
    assert_eq!(admin.get("/endpoints/a").await["tunnels"], 1);

    let (code, _, _) = admin.ask("DELETE", "/endpoints/a", "").await;
    assert_eq!(code, 204);
    assert_eq!(status(&gateway, "/b").await, "404");
    // Nothing else is this receiver's.
    let closed = soon(receiver.driver).await.unwrap();
    assert_eq!(closed.code.map(|c| c.0), Some(4004));
    assert_eq!(
        admin.problem("DELETE", "/endpoints/a", &json!({})).await.0,
        404
    );
    assert_eq!(
        admin.problem("GET", "/endpoints/a", &json!({})).await.0,
        404
    );
    stop(gateway).await;
    let gateway = start(registry(&path)).await;
    assert_eq!(
        Admin::connect(gateway.admin).await.get("/endpoints").await["total"],
        1
    );
}

#[tokio::test]
async fn what_the_gateway_before_added_at_last_is_waited_for() {
    let (_directory, path) = scratch();
    let first = Gateway::bind(registry(&path)).await.unwrap();
    let next = following(&first, registry(&path)).await.catches_up();
    let first = run(first);
    let settings = json!({"name": "a", "path": "/a", "receivers": ["r"]});
    let mut admin = Admin::connect(first.admin).await;
    admin.add(&settings).await;
    stop(first).await;
    let handover = next.handover();
    let next = run(next);

    let mut receiver = Caller::connect(next.tunnel).await;
    let offer = [("Sec-WebSocket-Protocol", "anpx.v2"), ("ANP-Receiver", "r")];
    receiver.handshake("/", &offer).await;
    let mut admin = Admin::connect(next.admin).await;
    let mut again = std::pin::pin!(admin.problem("POST", "/endpoints", &settings));
    let mut caller = next.caller().await;
    caller.get("/a").await;
    tokio::select! {
        early = &mut again => panic!("an answer before the registry was read again: {early:?}"),
        _ = next.metrics_say("anp_gateway_in_flight 1") => {}
    }
    soon(handover.catch_up()).await;
    assert_eq!(soon(again).await.0, 409);
    let head = receiver.head().await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let receiver = Receiver::on_default(receiver).await;
    answer(&mut receiver.accept().await, 200, "late");
    caller.until("late").await;
    assert_eq!(status(&next, "/b").await, "404");
}

#[tokio::test]
async fn what_collides_or_cannot_be_is_refused() {
    let (_directory, path) = scratch();
    let gateway = start(Config {
        endpoints: vec![Endpoint {
            name: "fixed".to_owned(),
            path: "/fixed".to_owned(),
            receivers: vec!["r".to_owned()],
            ..Endpoint::default()
        }],
        ..registry(&path)
    })
    .await;
    let mut admin = Admin::connect(gateway.admin).await;
    admin
        .add(&json!({"name": "a", "path": "/a", "receivers": ["r"]}))
        .await;
    let valid = |name: &str, path: &str| json!({"name": name, "path": path, "receivers": ["r"]});
    for (method, target, body, code, text) in [
        (
            "POST",
            "/endpoints",
            valid("x", "/fixed/"),
            409,
            "endpoint \"fixed\" of the configuration",
        ),
        (
            "POST",
            "/endpoints",
            valid("fixed", "/x"),
            409,
            "by an endpoint of the configuration",
        ),
        (
            "POST",
            "/endpoints",
            valid("x", "/a"),
            409,
            "endpoint \"a\" of the registry",
        ),
        (
            "POST",
            "/endpoints",
            valid("a", "/x"),
            409,
            "by an endpoint of the registry",
        ),
        (
            "PUT",
            "/endpoints/a",
            valid("a", "/fixed"),
            409,
            "endpoint \"fixed\"",
        ),
        (
            "PUT",
            "/endpoints/fixed",
            valid("fixed", "/y"),
            409,
            "change it there, then reload",
        ),
        (
            "DELETE",
            "/endpoints/fixed",
            json!({}),
            409,
            "change it there, then reload",
        ),
        (
            "PUT",
            "/endpoints/b",
            valid("b", "/b"),
            404,
            "no endpoint \"b\"",
        ),
        ("PUT", "/endpoints/a", valid("b", "/b"), 409, "to rename it"),
        (
            "POST",
            "/endpoints",
            valid("a b", "/x"),
            422,
            "name: must be",
        ),
        ("POST", "/endpoints", valid("x", "/../x"), 422, "path: "),
        (
            "POST",
            "/endpoints",
            json!({"name": "x"}),
            422,
            "receivers: ",
        ),
        (
            "POST",
            "/endpoints",
            json!({"name": "x", "pat": "/x"}),
            422,
            "unknown key \"pat\"; did you mean \"path\"?",
        ),
        (
            "POST",
            "/endpoints",
            json!({"name": "x", "owner": "a b"}),
            422,
            "is no owner",
        ),
        ("POST", "/endpoints", json!([]), 422, "expected an object"),
        (
            "POST",
            "/endpoints?x=1",
            valid("x", "/x"),
            400,
            "takes no query",
        ),
        ("GET", "/endpoints?after=%20", json!(null), 400, "after: "),
        ("GET", "/endpoints?limit=0", json!(null), 400, "limit: "),
        (
            "POST",
            "/endpoints/a",
            json!(null),
            405,
            "GET, HEAD, PUT, DELETE",
        ),
        ("GET", "/other", json!(null), 404, "/endpoints/{name}"),
    ] {
        let problem = admin.problem(method, target, &body).await;
        assert_eq!(problem.0, code, "{method} {target} {body}: {}", problem.1);
        assert!(
            problem.1.contains(text),
            "{method} {target} {body}: {}",
            problem.1
        );
    }
    let (code, _, body) = admin.ask("POST", "/endpoints", "{\"name\"").await;
    assert_eq!(code, 400, "{body}");
    let (code, _, _) = admin
        .ask("POST", "/endpoints", &" ".repeat((64 << 10) + 1))
        .await;
    assert_eq!(code, 413);
    // Nothing of all that came to be.
    let mut admin = Admin::connect(gateway.admin).await;
    assert_eq!(admin.get("/endpoints").await["total"], 2);
    assert_eq!(status(&gateway, "/a").await, "503");
}

#[tokio::test]
async fn without_a_store_nothing_is_added() {
    let gateway = start(config()).await;
    let mut admin = Admin::connect(gateway.admin).await;
    let settings = json!({"name": "a", "path": "/a", "receivers": ["r"]});
    let (code, detail) = admin.problem("POST", "/endpoints", &settings).await;
    assert_eq!(code, 409);
    assert!(detail.contains("gateway.endpoint_store"), "{detail}");
    assert_eq!(
        admin.get("/endpoints").await["endpoints"][0]["owners"],
        Value::Null
    );
}

#[tokio::test]
async fn a_file_that_is_none_of_ours_is_refused_at_the_start() {
    let (_directory, path) = scratch();
    std::fs::write(&path, "no registry").unwrap();
    let error = Gateway::bind(registry(&path))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("endpoint_store "), "{error}");
}

#[tokio::test]
async fn a_reload_replaces_what_is_configured_and_nothing_else() {
    let (_directory, path) = scratch();
    let endpoint = |name: &str, place: &str| Endpoint {
        name: name.to_owned(),
        path: place.to_owned(),
        receivers: vec!["r".to_owned()],
        ..Endpoint::default()
    };
    let first = Config {
        endpoints: vec![endpoint("fixed", "/fixed")],
        ..registry(&path)
    };
    let source = Arc::new(Mutex::new(Ok(first.clone())));
    let bound = Gateway::bind(first.clone()).await.unwrap();
    let read = source.clone();
    let running = run(bound.reads(move || read.lock().unwrap().clone()));
    let mut admin = Admin::connect(running.admin).await;
    for name in ["a", "b"] {
        let place = format!("/{name}");
        admin
            .add(&json!({"name": name, "path": place, "receivers": ["r"]}))
            .await;
    }
    let status = async |target: &str| {
        let mut caller = running.caller().await;
        caller.get(target).await;
        caller.head().await[9..12].to_owned()
    };

    *source.lock().unwrap() = Ok(Config {
        endpoints: vec![endpoint("mine", "/a"), endpoint("b", "/elsewhere")],
        queue_size: 7,
        workers: Some(1),
        ..first
    });
    let (code, _, body) = admin.ask("POST", "/reload", "").await;
    assert_eq!(code, 200, "{body}");
    assert_eq!(body["changed"], json!(["endpoints", "queue_size"]));
    assert_eq!(body["needs_restart"], json!(["workers"]));
    let page = admin.get("/endpoints").await;
    let shown = |e: &Value| {
        let text = |key: &str| e[key].as_str().unwrap_or_default().to_owned();
        format!(
            "{} {} {} {}",
            text("name"),
            text("source"),
            e["active"],
            text("why")
        )
    };
    let all: Vec<_> = page["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(shown)
        .collect();
    assert_eq!(
        all,
        [
            "a registry false endpoint \"mine\" of the configuration has this host and path",
            "b config true ",
            "b registry false the name \"b\" is taken by an endpoint of the configuration",
            "mine config true ",
        ]
    );
    assert_eq!(status("/b").await, "404");
    // One that is left out can be moved out of the way, or removed.
    let (code, _, _) = admin
        .ask(
            "PUT",
            "/endpoints/a",
            r#"{"path": "/c", "receivers": ["r"]}"#,
        )
        .await;
    assert_eq!((code, status("/c").await.as_str()), (200, "503"));
    assert_eq!(admin.ask("DELETE", "/endpoints/b", "").await.0, 204);
    assert_eq!(admin.get("/endpoints/b").await["source"], "config");

    *source.lock().unwrap() = Err("anp.toml:3:1: what is wrong".to_owned());
    let (code, detail) = admin.problem("POST", "/reload", &json!({})).await;
    assert_eq!(code, 422);
    assert!(detail.contains("anp.toml:3:1: what is wrong"), "{detail}");
    assert_eq!(admin.get("/endpoints").await["total"], 3);
    let metrics = running.metrics().await;
    for counted in ["{outcome=\"taken\"} 1\n", "{outcome=\"refused\"} 1\n"] {
        let counted = format!("anp_gateway_reloads_total{counted}");
        assert!(metrics.contains(&counted), "{metrics}");
    }
}

#[tokio::test]
async fn an_endpoint_that_changes_keeps_what_was_used_of_its_limits() {
    let (_directory, path) = scratch();
    let gateway = start(registry(&path)).await;
    let mut admin = Admin::connect(gateway.admin).await;
    let mut settings = json!({
        "name": "a", "receivers": ["r"], "endpoint_rate": {"requests": "1/h"}
    });
    admin.add(&settings).await;
    let receiver = gateway.receiver().await;
    let mut caller = gateway.caller().await;
    caller.get("/").await;
    answer(&mut receiver.accept().await, 200, "ok");
    caller.until("\r\n\r\nok").await;
    settings["max_body_size"] = json!("1KiB");
    let (code, _, body) = admin
        .ask("PUT", "/endpoints/a", &settings.to_string())
        .await;
    assert_eq!(code, 200, "{body}");
    assert_eq!(status(&gateway, "/").await, "429");
}

#[tokio::test]
async fn with_proof_required_only_those_who_can_prove_may_be_named() {
    let (_directory, path) = scratch();
    let hash = anp_auth::new_token().unwrap().1.to_string();
    let tokens = json!([{"name": "lab", "hash": hash}]);
    let auth = json!({"public_names": ["gw.example"], "tokens": tokens});
    let gateway = start(Config {
        auth: Some(serde_json::from_value(auth).unwrap()),
        ..registry(&path)
    })
    .await;
    let mut admin = Admin::connect(gateway.admin).await;
    for (owner, text) in [
        (
            json!({"owner": "token:lba"}),
            "owner: no token is called \"lba\"",
        ),
        (
            json!({"receivers": ["r"]}),
            "receivers: a name proves nothing",
        ),
        (json!({"owner": "did:wba:127.0.0.1"}), "owner: "),
    ] {
        let mut settings = owner;
        settings["name"] = json!("a");
        let (code, detail) = admin.problem("POST", "/endpoints", &settings).await;
        assert_eq!(code, 422, "{detail}");
        assert!(detail.starts_with(text), "{detail}");
    }
    admin
        .add(&json!({"name": "a", "owner": "did:wba:a.example:alice"}))
        .await;
    admin
        .add(&json!({"name": "b", "path": "/b", "owner": "token:lab"}))
        .await;
}
