//! Bodies both ways: framing, streaming, back-pressure.

use anp_tunnel::Head;
use anpx::{Fields, session::End};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{App, Gateway, on_worker};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn a_request_body_is_sized_where_its_length_is_known_and_chunked_elsewhere() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut call = gateway.call("PUT", &[("content-length", "8")], Some(("half", End::No)));
        let mut peer = app.accept().await;
        assert!(
            peer.until("\r\n\r\nhalf")
                .await
                .contains("\r\ncontent-length: 8\r\n")
        );
        call.send("more", End::Yes).await.unwrap();
        peer.until("more").await;
        peer.send(OK).await;
        assert_eq!(call.answer().await.unwrap().body, "ok");

        let mut call = gateway.call("POST", &[], Some(("half", End::No)));
        let head = peer.until("4\r\nhalf\r\n").await;
        assert!(
            head.contains("\r\ntransfer-encoding: chunked\r\n"),
            "{head}"
        );
        call.send("more", End::No).await.unwrap();
        peer.until("4\r\nmore\r\n").await;
        let trailers = Fields::from_pairs([("x-sum", "42")]).unwrap();
        call.send.send_trailers(trailers).unwrap();
        peer.until("0\r\nx-sum: 42\r\n\r\n").await;
        peer.send(OK).await;
        assert_eq!(call.answer().await.unwrap().body, "ok");
    });
}

#[test]
fn each_token_leaves_before_the_next_is_made() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut call = gateway.get();
        let mut peer = app.accept().await;
        peer.head().await;
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        assert_eq!(call.status().await, Ok(200));
        for token in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
            peer.send(&format!("{:x}\r\n{token}\r\n", token.len()))
                .await;
            assert_eq!(call.text().await, token);
        }
        peer.send("0\r\n\r\n").await;
        assert!(call.part().await.is_none());
    });
}

#[test]
fn a_small_response_is_one_frame_however_it_is_chunked() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut call = gateway.get();
        let mut peer = app.accept().await;
        peer.head().await;
        peer.send(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
             2\r\nab\r\n2\r\ncd\r\n1\r\ne\r\n0\r\n\r\n",
        )
        .await;
        assert!(matches!(call.head().await.unwrap(), Head::Final(..)));
        let part = call.part().await.unwrap().unwrap();
        assert!(
            matches!(&part, anp_tunnel::Part::Data(data, End::Yes) if data == "abcde"),
            "{part:?}"
        );
    });
}

#[test]
fn trailers_and_bodies_that_end_with_the_connection_come_whole() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut call = gateway.get();
        let mut peer = app.accept().await;
        peer.head().await;
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nGrpc-Status: 0\r\n\r\n")
            .await;
        let answer = call.answer().await.unwrap();
        assert_eq!(answer.body, "ok");
        assert_eq!(
            answer.trailers,
            [("grpc-status".to_owned(), "0".to_owned())]
        );

        let mut call = gateway.get();
        peer.head().await;
        peer.send("HTTP/1.0 200 OK\r\n\r\nuntil the end").await;
        drop(peer);
        assert_eq!(call.answer().await.unwrap().body, "until the end");
    });
}

#[test]
fn large_bodies_cross_both_ways_at_once() {
    const LEN: usize = 8 << 20;
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let length = LEN.to_string();
        let call = gateway.call("POST", &[("content-length", &length)], Some(("", End::No)));
        let mut peer = app.accept().await;
        peer.head().await;
        // An echo: what arrives goes back at once.
        let echo = async {
            peer.send(&format!("HTTP/1.1 200 OK\r\ncontent-length: {LEN}\r\n\r\n"))
                .await;
            let (mut read, mut write) = peer.io.split();
            write.write_all(&peer.read).await.unwrap();
            let rest = (LEN - peer.read.len()) as u64;
            tokio::io::copy(&mut (&mut read).take(rest), &mut write)
                .await
                .unwrap();
        };
        let super::Call { send, recv } = call;
        let mut sender = super::Call { send, recv };
        let pattern: Vec<u8> = (0..=250).cycle().take(LEN).collect();
        let mut sent = bytes::Bytes::from(pattern.clone());
        let exchange = async {
            assert_eq!(sender.status().await, Ok(200));
            let mut got = Vec::with_capacity(LEN);
            while got.len() < LEN {
                tokio::select! {
                    biased;
                    part = std::future::poll_fn(|cx| sender.recv.poll_part(cx)) => match part {
                        Some(Ok(anp_tunnel::Part::Data(data, _))) => got.extend_from_slice(&data),
                        other => panic!("{other:?}"),
                    },
                    room = std::future::poll_fn(|cx| sender.send.poll_capacity(cx)), if !sent.is_empty() => {
                        let piece = sent.split_to(room.unwrap().min(sent.len()));
                        sender.send.send_data(piece, End::from(sent.is_empty())).unwrap();
                    }
                }
            }
            got
        };
        let ((), got) = tokio::join!(echo, exchange);
        assert!(got == pattern);
    });
}

#[test]
fn a_slow_reader_holds_back_its_app_and_nobody_else() {
    const LEN: usize = 16 << 20;
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut slow = gateway.get();
        let mut peer = app.accept().await;
        peer.head().await;
        let (blocked, told) = tokio::sync::oneshot::channel();
        let writing = tokio::task::spawn_local(async move {
            peer.send(&format!("HTTP/1.1 200 OK\r\ncontent-length: {LEN}\r\n\r\n"))
                .await;
            let mut left = LEN;
            // Written without waiting, until the sockets take no more.
            while let Ok(len) = peer.io.try_write(&vec![0; left.min(64 << 10)]) {
                left -= len;
                tokio::task::yield_now().await;
            }
            blocked.send(()).unwrap();
            peer.io.write_all(&vec![0; left]).await.unwrap();
        });
        told.await.unwrap();

        let mut quick = gateway.get();
        let mut sibling = app.accept().await;
        sibling.head().await;
        sibling.send(OK).await;
        assert_eq!(quick.answer().await.unwrap().body, "ok");

        assert_eq!(slow.status().await, Ok(200));
        assert_eq!(slow.drain().await, Ok(LEN));
        writing.await.unwrap();
    });
}
