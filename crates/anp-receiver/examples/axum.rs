//! An axum app behind a gateway: `cargo run -p anp-receiver --example axum -- ws://127.0.0.1:8765`,
//! beside `anp-proxy gateway`. Then `curl http://127.0.0.1:8080/` and `curl -N …/tokens`.
#![allow(clippy::print_stdout, reason = "it is for people at a terminal")]

use std::{convert::Infallible, time::Duration};

use anp_receiver::{Caller, Config, serve};
use axum::{
    Extension, Router,
    response::{Sse, sse::Event},
    routing::get,
};
use tokio_stream::{Stream, StreamExt as _};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let gateway = std::env::args().nth(1);
    let gateway = gateway.unwrap_or_else(|| "ws://127.0.0.1:8765".to_owned());
    let config = Config {
        gateways: vec![gateway.parse()?],
        ..Config::default()
    };
    let app = Router::new()
        .route("/", get(greet))
        .route("/tokens", get(tokens));
    println!("{gateway} → axum; Ctrl-C stops it");
    serve(config, app, async {
        let _ = tokio::signal::ctrl_c().await;
    })
    .await?;
    Ok(())
}

async fn greet(Extension(caller): Extension<Caller>) -> String {
    match caller.address() {
        Some(address) => format!("Hello, {address}.\n"),
        None => "Hello.\n".to_owned(),
    }
}

/// One token a second, until the caller leaves.
async fn tokens() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let words = tokio_stream::iter(["a", "token", "at", "a", "time"]);
    let paced = words.throttle(Duration::from_secs(1));
    Sse::new(paced.map(|word| Ok(Event::default().data(word))))
}
