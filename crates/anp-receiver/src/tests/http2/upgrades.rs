//! WebSocket as extended CONNECT.

use super::*;

const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");

#[test]
fn a_websocket_is_an_extended_connect() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut builder = Builder::new();
        builder.enable_connect_protocol();
        let fields = [KEY, ("sec-websocket-version", "13")];
        let mut call = gateway.call_with("GET", &fields, None, Some("websocket"));
        let mut peer = app.accept_as(&mut builder).await;
        let mut asked = peer.asked().await;
        assert_eq!(asked.request.method(), Method::CONNECT);
        let protocol = asked.request.extensions().get::<h2::ext::Protocol>();
        assert_eq!(protocol.unwrap().as_str(), "websocket");
        assert_eq!(asked.request.uri(), "http://public.example/a%2Fb?q=%zz");
        assert!(!asked.request.headers().contains_key(KEY.0));
        assert_eq!(asked.request.headers()["sec-websocket-version"], "13");
        let mut body = asked.respond(false);
        match call.head().await.unwrap() {
            Head::Final(head, End::No) => {
                assert_eq!(head.status, 101);
                let accept = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
                assert_eq!(texts(&head.headers), pairs(&[accept]));
            }
            other => panic!("{other:?}"),
        }
        body.send_data("hello".into(), false).unwrap();
        assert_eq!(call.text().await, "hello");
        // The app ends first; the other half goes on.
        body.send_data(Bytes::new(), true).unwrap();
        assert_eq!(call.drain().await, Ok(0));
        call.send("bye", End::No).await.unwrap();
        assert_eq!(asked.text().await.as_deref(), Some("bye"));
        call.send("", End::Yes).await.unwrap();
        assert_eq!(asked.text().await, None);

        // Aborts, from each side.
        let mut call = gateway.call_with("GET", &fields, None, Some("websocket"));
        let mut asked = peer.asked().await;
        let mut body = asked.respond(false);
        assert_eq!(call.status().await, Ok(101));
        drop(call);
        let reason = poll_fn(|cx| body.poll_reset(cx)).await.unwrap();
        assert_eq!(reason, Reason::CANCEL);
        let mut call = gateway.call_with("GET", &fields, None, Some("websocket"));
        let mut body = peer.asked().await.respond(false);
        assert_eq!(call.status().await, Ok(101));
        body.send_reset(Reason::CANCEL);
        assert!(matches!(call.part().await, Some(Err(FAILED))));
        // A refusal is an ordinary answer.
        let mut call = gateway.call_with("GET", &fields, None, Some("websocket"));
        let refusal = Response::builder().status(403).body(()).unwrap();
        let mut asked = peer.asked().await;
        let mut body = asked.answer.send_response(refusal, false).unwrap();
        body.send_data("no".into(), true).unwrap();
        let answer = call.answer().await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (403, "no"));
    });
}

#[test]
fn upgrades_that_http2_does_not_have_are_501() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        // The app's settings do not allow it.
        let mut call = gateway.call_with("GET", &[KEY], None, Some("websocket"));
        let peer = app.accept().await;
        assert_eq!(call.status().await, Ok(501));
        while let Some(part) = call.part().await {
            assert!(matches!(part, Ok(Part::Data(..))));
        }
        let mut call = gateway.call_with("GET", &[], None, Some("irc"));
        assert_eq!(call.status().await, Ok(501));
        drop(peer);
    });
}
