//! gRPC by tonic at both ends.

use anp_receiver::Receiver;
use anp_testkit::{Rig, soon};
use tonic::{Code, service::Routes, transport::Endpoint};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_check_response, health_client::HealthClient},
    server::health_reporter,
};

const SERVING: i32 = health_check_response::ServingStatus::Serving as i32;
const NOT_SERVING: i32 = health_check_response::ServingStatus::NotServing as i32;

#[tokio::test]
async fn calls_streams_and_statuses_cross_the_tunnel() {
    let (reporter, health) = health_reporter();
    let set = |status| reporter.set_service_status("agent", status);
    set(ServingStatus::Serving).await;
    let routes = Routes::new(health).prepare().into_axum_router();
    let rig = Rig::in_process(|config| Receiver::with_service(config, routes)).await;
    let endpoint = Endpoint::from_shared(format!("http://{}", rig.public())).unwrap();
    let mut client = HealthClient::new(soon(endpoint.connect()).await.unwrap());
    let of = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };

    let answer = soon(client.check(of("agent"))).await.unwrap();
    assert_eq!(answer.into_inner().status, SERVING);
    // An error is a response of trailers only.
    let error = soon(client.check(of("nobody"))).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);

    let mut watched = soon(client.watch(of("agent"))).await.unwrap().into_inner();
    let first = soon(watched.message()).await.unwrap().unwrap();
    assert_eq!(first.status, SERVING);
    set(ServingStatus::NotServing).await;
    let next = soon(watched.message()).await.unwrap().unwrap();
    assert_eq!(next.status, NOT_SERVING);
}
