//! The admin API as its clients see it: what is seen of tunnels, and who may ask.

use std::net::SocketAddr;

use anp_gateway::{Config, Secret};
use serde_json::{Value, json};

use crate::support::{Caller, answer, config, soon, start};

/// An exchange with the admin listener: status, headers, and the body as JSON where it is some.
pub(crate) struct Admin {
    caller: Caller,
    /// Further lines of each head.
    pub(crate) extra: String,
}

impl Admin {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self {
            caller: Caller::connect(address).await,
            extra: String::new(),
        }
    }

    pub(crate) async fn ask(
        &mut self,
        method: &str,
        target: &str,
        body: &str,
    ) -> (u16, String, Value) {
        let length = body.len();
        self.caller
            .send(format!(
                "{method} {target} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                 content-length: {length}\r\n{}\r\n{body}",
                self.extra
            ))
            .await;
        let head = self.caller.head().await.to_ascii_lowercase();
        let length = head.split_once("content-length: ").map_or(0, |(_, rest)| {
            rest.split("\r\n").next().unwrap().parse().unwrap()
        });
        let body = self.caller.exactly(length).await;
        let body = serde_json::from_slice(&body).unwrap_or_default();
        (head[9..12].parse().unwrap(), head, body)
    }

    pub(crate) async fn get(&mut self, target: &str) -> Value {
        let (status, _, body) = self.ask("GET", target, "").await;
        assert_eq!(status, 200, "{target}: {body}");
        body
    }

    /// The status and the detail of a problem.
    pub(crate) async fn problem(
        &mut self,
        method: &str,
        target: &str,
        body: &Value,
    ) -> (u16, String) {
        let (status, head, body) = self.ask(method, target, &body.to_string()).await;
        assert!(
            head.contains("content-type: application/problem+json"),
            "{head}"
        );
        assert_eq!(body["status"], status);
        (status, body["detail"].as_str().unwrap().to_owned())
    }

    pub(crate) async fn add(&mut self, settings: &Value) -> Value {
        let (status, head, body) = self.ask("POST", "/endpoints", &settings.to_string()).await;
        assert_eq!(status, 201, "{body}");
        let location = format!("location: /endpoints/{}", body["name"].as_str().unwrap());
        assert!(head.contains(&location), "{head}");
        body
    }
}

#[tokio::test]
async fn tunnels_are_seen_and_ended() {
    let gateway = start(config()).await;
    let mut admin = Admin::connect(gateway.admin).await;
    assert_eq!(
        admin.get("/tunnels").await,
        json!({"tunnels": [], "total": 0, "next": null})
    );
    let first = gateway.receiver().await;
    let second = gateway
        .receiver_with(
            "laptop",
            anp_tunnel::TunnelConfig::new(anpx::session::Role::Receiver),
        )
        .await;
    let mut caller = gateway.caller().await;
    caller.get("/").await;
    let mut busy = tokio::select! {
        request = first.accept() => request,
        request = second.accept() => request,
    };
    let page = admin.get("/tunnels?limit=1").await;
    assert_eq!((&page["total"], &page["next"]), (&json!(2), &json!("t1")));
    let page = admin.get("/tunnels?after=t1").await;
    let seen = &page["tunnels"][0];
    assert_eq!(page["next"], Value::Null);
    assert_eq!(seen["id"], "t2");
    assert_eq!(seen["owner"], "laptop");
    assert_eq!(seen["receiver"], "laptop");
    assert_eq!(seen["version"], 2);
    assert_eq!(seen["state"], "ready");
    assert_eq!(seen["endpoints"], json!(["open"]));
    assert!(seen["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(seen["bytes"]["received"].as_u64().unwrap() > 0);
    assert!(seen["bytes"]["sent"].as_u64().unwrap() > 0);
    let streams = async |admin: &mut Admin| {
        let page = admin.get("/tunnels").await;
        let all = page["tunnels"].as_array().unwrap().clone();
        all.iter()
            .map(|t| t["streams"].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(streams(&mut admin).await, 1);
    answer(&mut busy, 200, "");
    caller.head().await;

    for (target, code) in [
        ("/tunnels/t9", 404),
        ("/tunnels/9", 404),
        ("/tunnels/t1?mode=x", 400),
        ("/tunnels/t1?reason=%0a", 400),
        ("/tunnels?after=1", 400),
    ] {
        let method = if target.contains("after") {
            "GET"
        } else {
            "DELETE"
        };
        assert_eq!(
            admin.problem(method, target, &json!({})).await.0,
            code,
            "{target}"
        );
    }
    let (code, _, body) = admin.ask("DELETE", "/tunnels/t1", "").await;
    assert_eq!((code, &body["mode"]), (202, &json!("drain")));
    let closed = soon(first.driver).await.unwrap();
    assert_eq!(
        (closed.code.map(|c| c.0), closed.reason.as_str()),
        (Some(1001), "drained")
    );
    let (code, _, _) = admin
        .ask("DELETE", "/tunnels/t2?mode=close&reason=go%20away", "")
        .await;
    assert_eq!(code, 202);
    let closed = soon(second.driver).await.unwrap();
    assert_eq!(
        (closed.code.map(|c| c.0), closed.reason.as_str()),
        (Some(1001), "go away")
    );
    while admin.get("/tunnels").await["total"] != 0 {}
}

#[tokio::test]
async fn the_token_is_asked_for_and_never_shown() {
    const TOKEN: &str = "a-token-of-this-test";
    let gateway = start(Config {
        admin_token: Some(Secret::new(TOKEN)),
        ..config()
    })
    .await;
    let mut admin = Admin::connect(gateway.admin).await;
    for target in ["/stats", "/metrics", "/config", "/tunnels", "/nothing"] {
        let (code, head, _) = admin.ask("GET", target, "").await;
        assert_eq!(code, 401, "{target}");
        assert!(head.contains("www-authenticate: bearer"), "{head}");
    }
    assert_eq!(admin.ask("GET", "/healthz", "").await.0, 200);
    assert_eq!(admin.ask("GET", "/readyz", "").await.0, 200);
    admin.extra = "authorization: Bearer wrong\r\n".to_owned();
    assert_eq!(admin.ask("POST", "/reload", "").await.0, 401);
    admin.extra = format!("authorization: Bearer {TOKEN}\r\n");
    assert_eq!(admin.get("/stats").await["state"], "serving");
    let config = admin.get("/config").await;
    assert_eq!(config["gateway"]["admin_token"], "****");
    assert!(!config.to_string().contains(TOKEN));
    let (code, detail) = admin.problem("POST", "/reload", &json!({})).await;
    assert_eq!(code, 409, "{detail}");
}

#[tokio::test]
async fn pages_of_a_browser_get_nothing() {
    let gateway = start(config()).await;
    let mut caller = Caller::connect(gateway.admin).await;
    caller
        .send("GET /config HTTP/1.1\r\nhost: rebound.example:9000\r\n\r\n")
        .await;
    assert!(caller.head().await.starts_with("HTTP/1.1 403"));
    let mut caller = Caller::connect(gateway.admin).await;
    let form = "content-type: text/plain\r\ncontent-length: 0";
    caller
        .send(format!(
            "POST /reload HTTP/1.1\r\nhost: localhost\r\n{form}\r\n\r\n"
        ))
        .await;
    assert!(caller.head().await.starts_with("HTTP/1.1 415"));
    let mut caller = Caller::connect(gateway.admin).await;
    let preflight = "origin: http://evil.example\r\naccess-control-request-method: DELETE";
    caller
        .send(format!(
            "OPTIONS /tunnels/t1 HTTP/1.1\r\nhost: localhost\r\n{preflight}\r\n\r\n"
        ))
        .await;
    let head = caller.head().await.to_ascii_lowercase();
    assert!(
        !head.starts_with("http/1.1 2") && !head.contains("access-control"),
        "{head}"
    );
}
