//! Which connection a request takes.

use super::*;

#[test]
fn streams_beyond_the_apps_limit_get_another_connection() {
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut builder = Builder::new();
        builder.max_concurrent_streams(1);
        let mut first = gateway.get();
        let mut one = app.accept_as(&mut builder).await;
        let mut held = one.asked().await;
        let mut second = gateway.get();
        let mut two = app.accept_as(&mut builder).await;
        two.asked().await.ok("two");
        assert_eq!(second.answer().await.unwrap().body, "two");
        held.ok("one");
        assert_eq!(first.answer().await.unwrap().body, "one");
    });
}

#[test]
fn what_speaks_no_http2_is_unreachable() {
    on_worker(async {
        let app = crate::tests::App::listen().await;
        let url = app.url().replace("http:", "h2c:");
        let gateway = Gateway::before(&[&url]).await;
        let mut call = gateway.get();
        let mut peer = app.accept().await;
        peer.until("PRI * HTTP/2.0\r\n\r\n").await;
        peer.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
            .await;
        assert_eq!(call.status().await, Err(UNREACHABLE));
        drop(app);
        assert_eq!(gateway.get().status().await, Err(UNREACHABLE));
    });
}
