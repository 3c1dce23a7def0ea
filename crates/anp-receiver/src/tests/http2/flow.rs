//! Readers that are slow.

use super::*;

/// Sends `len` bytes as far as the receiver lets it; `sent` counts them.
async fn flood(mut body: h2::SendStream<Bytes>, len: usize, sent: Rc<Cell<usize>>) {
    while sent.get() < len {
        body.reserve_capacity(len - sent.get());
        let room = match poll_fn(|cx| body.poll_capacity(cx)).await {
            Some(room) => room.unwrap().min(len - sent.get()),
            None => panic!("the receiver gave the stream up"),
        };
        let last = sent.get() + room == len;
        body.send_data(vec![b'x'; room].into(), last).unwrap();
        sent.set(sent.get() + room);
    }
}

#[test]
fn a_slow_reader_holds_back_its_stream_and_no_other() {
    const LEN: usize = 4 << 20;
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut slow = gateway.get();
        let mut peer = app.accept().await;
        let body = peer.asked().await.respond(false);
        let sent = Rc::new(Cell::new(0));
        let flooding = spawn_local(flood(body, LEN, Rc::clone(&sent)));
        assert_eq!(head(&mut slow).await, (200, End::No));
        for _ in 0..100 {
            let mut quick = gateway.get();
            peer.asked().await.ok("ok");
            assert_eq!(quick.answer().await.unwrap().body, "ok");
        }
        // The windows of app and tunnel, and a frame on its way between them.
        assert!(sent.get() <= 3 * (64 << 10), "{}", sent.get());
        assert_eq!(slow.drain().await, Ok(LEN));
        flooding.await.unwrap();
    });
}

#[test]
fn a_slow_app_holds_back_its_caller() {
    const LEN: usize = 4 << 20;
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut call = gateway.call("POST", &[], Some(("", End::No)));
        let mut peer = app.accept().await;
        let mut asked = peer.asked().await;
        let sent = Rc::new(Cell::new(0));
        let count = Rc::clone(&sent);
        let sending = spawn_local(async move {
            while count.get() < LEN {
                let room = poll_fn(|cx| call.send.poll_capacity(cx)).await.unwrap();
                let room = room.min(LEN - count.get());
                let last = count.get() + room == LEN;
                let data = Bytes::from(vec![b'x'; room]);
                call.send.send_data(data, last.into()).unwrap();
                count.set(count.get() + room);
            }
            call
        });
        for _ in 0..100 {
            let mut quick = gateway.get();
            peer.asked().await.ok("ok");
            assert_eq!(quick.answer().await.unwrap().body, "ok");
        }
        // The windows of tunnel and app, what h2 holds for a stream, and two parts on their way.
        assert!(sent.get() <= 5 * (64 << 10), "{}", sent.get());
        let mut len = 0;
        while let Some(text) = asked.text().await {
            len += text.len();
        }
        assert_eq!(len, LEN);
        asked.ok("ok");
        assert_eq!(sending.await.unwrap().answer().await.unwrap().body, "ok");
    });
}
