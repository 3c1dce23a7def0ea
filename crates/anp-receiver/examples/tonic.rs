//! A gRPC service behind a gateway: `cargo run -p anp-receiver --example tonic -- ws://127.0.0.1:8765`,
//! beside `anp-proxy gateway`. Then
//! `grpcurl -plaintext -proto health.proto 127.0.0.1:8080 grpc.health.v1.Health/Check`.
#![allow(clippy::print_stdout, reason = "it is for people at a terminal")]

use anp_receiver::{Config, serve};
use tonic::service::Routes;
use tonic_health::server::health_reporter;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let gateway = std::env::args().nth(1);
    let gateway = gateway.unwrap_or_else(|| "ws://127.0.0.1:8765".to_owned());
    let config = Config {
        gateways: vec![gateway.parse()?],
        ..Config::default()
    };
    let (_reporter, health) = health_reporter();
    let app = Routes::new(health).prepare().into_axum_router();
    println!("{gateway} → tonic; Ctrl-C stops it");
    serve(config, app, async {
        let _ = tokio::signal::ctrl_c().await;
    })
    .await?;
    Ok(())
}
