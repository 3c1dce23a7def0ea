//! Heads both ways, and what has no body.

use anp_tunnel::Head;
use anpx::session::End;

use super::{App, Gateway, on_worker};

#[test]
fn the_app_sees_what_the_caller_sent_and_the_caller_what_the_app_did() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&format!("{}/base/", app.url())]).await;
        let fields = [
            ("x-b", "1"),
            ("x-a", "2"),
            ("x-b", "3"),
            ("cookie", "a=b; c=d"),
        ];
        let mut call = gateway.call("GET", &fields, None);
        let mut peer = app.accept().await;
        assert_eq!(
            peer.head().await,
            "GET /base/a%2Fb?q=%zz HTTP/1.1\r\nHost: public.example\r\n\
             x-b: 1\r\nx-a: 2\r\nx-b: 3\r\ncookie: a=b; c=d\r\n\r\n"
        );
        peer.send(
            "HTTP/1.1 201 Made\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
             Connection: close\r\nContent-Length: 5\r\n\r\nhello",
        )
        .await;
        let answer = call.answer().await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (201, "hello"));
        let fields: Vec<_> = answer
            .fields
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert_eq!(
            fields,
            [
                ("set-cookie", "a=1"),
                ("set-cookie", "b=2"),
                ("content-length", "5")
            ]
        );
    });
}

#[test]
fn responses_without_a_body_are_whole_with_their_head() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut peer = None;
        for (method, response) in [
            ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n"),
            ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
            (
                "GET",
                "HTTP/1.1 304 Not Modified\r\ncontent-length: 999\r\n\r\n",
            ),
            ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        ] {
            let mut call = gateway.call(method, &[], None);
            let mut this = match peer.take() {
                None => app.accept().await,
                Some(kept) => kept,
            };
            this.head().await;
            this.send(response).await;
            match call.head().await.unwrap() {
                Head::Final(_, end) => assert_eq!(end, End::Yes, "{response}"),
                other => panic!("{other:?}"),
            }
            // The connection is kept for the next.
            peer = Some(this);
        }
    });
}

#[test]
fn informational_heads_go_before_the_final_one() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut call = gateway.get();
        let mut peer = app.accept().await;
        peer.head().await;
        peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
            .await;
        match call.head().await.unwrap() {
            Head::Informational(head) => {
                assert_eq!(
                    (head.status, head.headers.get("link")),
                    (103, Some(&b"</a.css>"[..]))
                );
            }
            other => panic!("{other:?}"),
        }
        // Nobody asked for 100 here, so it is left out.
        peer.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await;
        assert!(matches!(call.head().await.unwrap(), Head::Final(head, _) if head.status == 200));
    });
}

#[test]
fn the_body_can_wait_for_100_continue() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let fields = [("expect", "100-continue"), ("content-length", "4")];
        let mut call = gateway.call("POST", &fields, Some(("", End::No)));
        let mut peer = app.accept().await;
        assert!(peer.head().await.contains("\r\nexpect: 100-continue\r\n"));
        peer.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        assert!(
            matches!(call.head().await.unwrap(), Head::Informational(head) if head.status == 100)
        );
        call.send("body", End::Yes).await.unwrap();
        peer.until("body").await;
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await;
        assert_eq!(call.status().await, Ok(200));
    });
}

#[test]
fn an_app_that_knows_nothing_of_expect_gets_the_body_all_the_same() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut call = gateway.call("POST", &[("expect", "100-continue")], Some(("", End::No)));
        let mut peer = app.accept().await;
        peer.head().await;
        // From here on only the clock moves.
        tokio::time::pause();
        assert!(
            matches!(call.head().await.unwrap(), Head::Informational(head) if head.status == 100)
        );
        call.send("body", End::Yes).await.unwrap();
        peer.until("4\r\nbody\r\n0\r\n\r\n").await;
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await;
        assert_eq!(call.status().await, Ok(200));
    });
}

#[test]
fn the_caller_is_asked_for_its_body_once() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut call = gateway.call("POST", &[("expect", "100-continue")], Some(("", End::No)));
        let mut peer = app.accept().await;
        peer.head().await;
        let hundred = "HTTP/1.1 100 Continue\r\n\r\n";
        peer.send(&hundred.repeat(2)).await;
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await;
        assert!(
            matches!(call.head().await.unwrap(), Head::Informational(head) if head.status == 100)
        );
        assert!(matches!(call.head().await.unwrap(), Head::Final(head, _) if head.status == 200));
    });
}

#[test]
fn informational_heads_beyond_the_limits_are_left_out() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut call = gateway.get();
        let mut peer = app.accept().await;
        peer.head().await;
        let large = "x".repeat(9 << 10);
        peer.send(&format!(
            "HTTP/1.1 103 Early Hints\r\nlink: {large}\r\n\r\n"
        ))
        .await;
        for n in 0..40 {
            peer.send(&format!("HTTP/1.1 103 Early Hints\r\nn: {n}\r\n\r\n"))
                .await;
        }
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await;
        let mut informed = 0;
        let status = loop {
            match call.head().await.unwrap() {
                Head::Informational(head) => {
                    assert_eq!(head.headers.get("link"), None);
                    informed += 1;
                }
                Head::Final(head, _) => break head.status,
            }
        };
        assert_eq!((informed, status), (16, 200));
    });
}
