//! Upgrades from caller to app.

use anp_testkit::{App, BodyEnd, Rig, soon};

#[tokio::test]
async fn a_websocket_carries_bytes_both_ways_until_the_app_ends_it() {
    let (app, mut calls) = App::by_hand().await;
    let rig = Rig::start(&app).await;
    let mut caller = rig.caller().await;
    caller
        .send(
            "GET /chat HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await;
    let mut call = soon(calls.recv()).await.unwrap();
    let head = soon(call.head()).await.unwrap();
    for line in [
        "\r\nconnection: upgrade\r\n",
        "\r\nupgrade: websocket\r\n",
        "\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    ] {
        assert!(head.contains(line), "{head}");
    }
    call.send(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello",
    )
    .await;
    let head = soon(caller.head()).await;
    assert_eq!(head.status, 101);
    assert_eq!(head.header("upgrade"), Some("websocket"));
    let accept = head.header("sec-websocket-accept");
    assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(
        soon(caller.sized(5)).await,
        (b"hello".to_vec(), BodyEnd::Whole)
    );
    for word in ["ping!", "again"] {
        caller.send(word).await;
        assert_eq!(soon(call.body(5)).await.as_deref(), Some(word.as_bytes()));
        call.send(word).await;
        assert_eq!(
            soon(caller.sized(5)).await,
            (word.as_bytes().to_vec(), BodyEnd::Whole)
        );
    }
    drop(call);
    assert_eq!(soon(caller.sized(1)).await, (Vec::new(), BodyEnd::Broken));
}
