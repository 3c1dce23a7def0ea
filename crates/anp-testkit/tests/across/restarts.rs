//! Receivers and gateways that go away (row 31 of the threats).

use anp_gateway::Shutdown;
use anp_testkit::{App, BodyEnd, Caller, Rig, RunningGateway, RunningReceiver, rig, soon};

#[tokio::test]
async fn a_receiver_killed_before_the_head_is_502() {
    let (app, mut calls) = App::by_hand().await;
    let Rig { gateway, receiver } = Rig::start(&app).await;
    let mut caller = soon(Caller::connect(gateway.public())).await;
    caller
        .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n")
        .await;
    let mut call = soon(calls.recv()).await.unwrap();
    soon(call.head()).await.unwrap();
    soon(receiver.kill()).await;
    assert_eq!(soon(caller.response()).await.0.status, 502);
    soon(call.closed()).await;
}

#[tokio::test]
async fn a_receiver_killed_in_the_body_breaks_the_message() {
    let (app, mut calls) = App::by_hand().await;
    let Rig { gateway, receiver } = Rig::start(&app).await;
    let mut caller = soon(Caller::connect(gateway.public())).await;
    caller.get("/").await;
    let mut call = soon(calls.recv()).await.unwrap();
    soon(call.head()).await.unwrap();
    call.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")
        .await;
    soon(caller.head()).await;
    assert_eq!(&soon(caller.chunk()).await.unwrap()[..], b"part");
    soon(receiver.kill()).await;
    assert_eq!(soon(caller.chunks()).await, (Vec::new(), BodyEnd::Broken));
}

#[tokio::test]
async fn a_stopped_receiver_finishes_what_is_under_way() {
    let (app, mut calls) = App::by_hand().await;
    let Rig { gateway, receiver } = Rig::start(&app).await;
    let mut caller = soon(Caller::connect(gateway.public())).await;
    caller.get("/").await;
    let mut call = soon(calls.recv()).await.unwrap();
    soon(call.head()).await.unwrap();
    let stop = tokio::spawn(receiver.stop());
    call.answer("whole").await;
    assert_eq!(soon(caller.response()).await.1, b"whole");
    soon(stop).await.unwrap();
}

#[tokio::test]
async fn a_second_receiver_takes_over() {
    let app = App::start(|mut call| async move {
        while call.head().await.is_some() {
            call.answer("here").await;
        }
    })
    .await;
    let rig = Rig::start(&app).await;
    let mut second = RunningReceiver::start(rig.tunnel(), &app);
    soon(second.ready()).await;
    let Rig { gateway, receiver } = rig;
    receiver.stop().await;
    let mut caller = soon(Caller::connect(gateway.public())).await;
    caller.get("/").await;
    assert_eq!(soon(caller.response()).await.1, b"here");
}

#[tokio::test]
async fn a_receiver_comes_back_to_a_gateway_that_was_replaced() {
    let app = App::start(|mut call| async move {
        while call.head().await.is_some() {
            call.answer("here").await;
        }
    })
    .await;
    for how in [Shutdown::Graceful, Shutdown::Now] {
        let rig = Rig::start(&app).await;
        assert_eq!(rig.get("/").await, b"here");
        let Rig {
            gateway,
            mut receiver,
        } = rig;
        let config = anp_gateway::Config {
            listen: gateway.public(),
            tunnel_listen: gateway.tunnel(),
            ..rig::gateway_config()
        };
        gateway.stop(how).await;
        soon(receiver.lost()).await;
        let gateway = RunningGateway::start(config).await;
        soon(receiver.ready()).await;
        let rig = Rig { gateway, receiver };
        assert_eq!(rig.get("/").await, b"here");
    }
}
