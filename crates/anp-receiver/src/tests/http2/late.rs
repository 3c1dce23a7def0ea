//! Frames for streams that were given up.

use super::{raw::*, *};

#[test]
fn callers_that_leave_in_masses_do_not_end_the_connection() {
    const AT_ONCE: usize = 100;
    on_worker(async {
        let app = App::listen().await;
        let gateway = Gateway::before(&[&app.url()]).await;
        let mut calls = vec![gateway.get()];
        let mut peer = app.accept_raw(b"").await;
        peer.until(HEADERS).await;
        for _ in 0..25 {
            drop(calls);
            let first = peer.until(RST_STREAM).await;
            calls = (0..AT_ONCE).map(|_| gateway.get()).collect();
            for _ in 0..AT_ONCE {
                assert!(peer.until(HEADERS).await > first);
            }
            let last = calls.pop().unwrap();
            drop(calls);
            let mut streams = Vec::new();
            for _ in 1..AT_ONCE {
                streams.push(peer.until(RST_STREAM).await);
            }
            for stream in streams {
                peer.send(DATA, 0, stream, b"late").await;
            }
            calls = vec![last];
        }
        drop(calls);
        peer.until(RST_STREAM).await;
        let mut call = gateway.get();
        let stream = peer.until(HEADERS).await;
        // END_STREAM and END_HEADERS, and `:status: 200` (RFC 7541 appendix A).
        peer.send(HEADERS, 5, stream, b"\x88").await;
        assert_eq!(call.status().await, Ok(200));
    });
}
