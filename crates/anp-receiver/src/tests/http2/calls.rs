//! Calls that go well.

use super::*;

#[test]
fn a_unary_call_keeps_its_heads_and_trailers() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&format!("{}/base", app.url())]).await;
        let fields = [
            ("content-type", "application/grpc"),
            ("x-a", "1"),
            ("x-a", "2"),
        ];
        let mut call = gateway.call("POST", &fields, Some(("question", End::Yes)));
        let mut peer = app.accept().await;
        let mut asked = peer.asked().await;
        assert_eq!(asked.request.method(), Method::POST);
        let uri = asked.request.uri().to_string();
        assert_eq!(uri, "http://public.example/base/a%2Fb?q=%zz");
        let seen = asked.request.headers();
        let all: Vec<_> = seen.get_all("x-a").iter().collect();
        assert_eq!(all, ["1", "2"]);
        assert_eq!(seen["te"], "trailers");
        assert_eq!(asked.text().await.as_deref(), Some("question"));
        assert_eq!(asked.text().await, None);

        let response = Response::builder().status(200).header("set-cookie", "a=1");
        let response = response.header("set-cookie", "b=2").body(()).unwrap();
        let mut body = asked.answer.send_response(response, false).unwrap();
        body.send_data("answer".into(), false).unwrap();
        body.send_trailers(trailers(&[("grpc-status", "0")]))
            .unwrap();
        let answer = call.answer().await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "answer"));
        assert_eq!(
            answer.fields,
            pairs(&[("set-cookie", "a=1"), ("set-cookie", "b=2")])
        );
        assert_eq!(answer.trailers, pairs(&[("grpc-status", "0")]));
    });
}

#[test]
fn trailers_go_both_ways_without_a_body() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut call = gateway.call("POST", &[], Some(("", End::No)));
        let mut peer = app.accept().await;
        let mut asked = peer.asked().await;
        let sum = Fields::from_pairs([("x-sum", "42")]).unwrap();
        call.send.send_trailers(sum).unwrap();
        assert_eq!(asked.text().await, None);
        let seen = asked.request.body_mut().trailers().await.unwrap();
        assert_eq!(seen, Some(trailers(&[("x-sum", "42")])));
        // gRPC's trailers-only: a head and nothing else.
        asked.respond(true);
        assert_eq!(head(&mut call).await, (200, End::Yes));
    });
}

#[test]
fn messages_stream_both_ways_on_one_connection() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut peer = None;
        let mut under_way = Vec::new();
        for _ in 0..20 {
            let call = gateway.call("POST", &[], Some(("", End::No)));
            if peer.is_none() {
                peer = Some(app.accept().await);
            }
            let mut asked = peer.as_mut().unwrap().asked().await;
            let body = asked.respond(false);
            under_way.push((call, asked, body));
        }
        for (call, _, _) in &mut under_way {
            assert_eq!(head(call).await, (200, End::No));
        }
        for word in ["one", "two"] {
            for (call, asked, body) in &mut under_way {
                call.send(word, End::No).await.unwrap();
                assert_eq!(asked.text().await.as_deref(), Some(word));
                body.send_data(word.into(), false).unwrap();
                assert_eq!(call.text().await, word);
            }
        }
        for (mut call, mut asked, mut body) in under_way {
            call.send("", End::Yes).await.unwrap();
            assert_eq!(asked.text().await, None);
            body.send_data(Bytes::new(), true).unwrap();
            assert_eq!(call.drain().await, Ok(0));
        }
    });
}

#[test]
fn informational_heads_come_first() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut call = gateway.call("POST", &[("expect", "100-continue")], Some(("", End::No)));
        let mut peer = app.accept().await;
        let mut asked = peer.asked().await;
        for status in [100, 103] {
            let interim = Response::builder().status(status).header("link", "</a>");
            let interim = interim.body(()).unwrap();
            asked.answer.send_informational(interim).unwrap();
            match call.head().await.unwrap() {
                Head::Informational(head) => {
                    assert_eq!(
                        (head.status, head.headers.get("link")),
                        (status, Some(&b"</a>"[..]))
                    );
                }
                other => panic!("{other:?}"),
            }
        }
        call.send("body", End::Yes).await.unwrap();
        assert_eq!(asked.text().await.as_deref(), Some("body"));
        asked.ok("done");
        assert_eq!(call.answer().await.unwrap().body, "done");
    });
}
