//! Certificates that change while requests are under way (row 38 of the threats).

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use super::authority::{Authority, caller, connect, put, receiver, showing};
use crate::support::{Caller, answer, soon, start};

/// Answers everything.
fn serve(receiver: crate::support::Receiver) {
    tokio::spawn(async move {
        loop {
            answer(&mut receiver.accept().await, 200, "ok");
        }
    });
}

#[tokio::test]
async fn the_new_certificate_is_shown_and_no_request_fails() {
    let (old, new) = (Authority::new(), Authority::new());
    let files = old.issue("gate", &["gate.example"]);
    let gateway = start(showing(&files)).await;
    serve(receiver(gateway.tunnel, old.client(&[])).await);

    let over = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let (authority, public) = (Arc::new((old, new)), gateway.public);
    let mut load = Vec::new();
    for kept in [true, true, false, false] {
        let (over, served, authority) = (over.clone(), served.clone(), authority.clone());
        load.push(tokio::spawn(async move {
            let mut one = caller(public, &authority.0).await;
            while !over.load(Relaxed) {
                if !kept {
                    // Whoever connects now trusts both.
                    one = either(public, &authority).await;
                }
                one.get("/").await;
                one.until("\r\n\r\nok").await;
                served.fetch_add(1, Relaxed);
            }
        }));
    }
    // There and back: each time another certificate.
    let (one, other) = (&authority.0, &authority.1);
    for (next, last) in [(other, one), (one, other), (other, one)] {
        let (cert, key) = next.pem(&["gate.example"]);
        put(&files.key, &key);
        put(&files.cert, &cert);
        let shown = async { while connect(public, next.client(&[])).await.is_err() {} };
        soon(shown).await;
        assert!(connect(public, last.client(&[])).await.is_err());
        let before = served.load(Relaxed);
        while served.load(Relaxed) < before + 100 {
            tokio::task::yield_now().await;
        }
    }
    over.store(true, Relaxed);
    for task in load {
        soon(task).await.unwrap();
    }
}

async fn either(
    at: std::net::SocketAddr,
    authority: &(Authority, Authority),
) -> Caller<anp_tls::TlsStream> {
    let both = authority.0.client_trusting(&authority.1);
    Caller::on(connect(at, both).await.unwrap())
}

#[tokio::test]
async fn what_is_bad_leaves_the_old_in_place() {
    let (old, new) = (Authority::new(), Authority::new());
    let files = old.issue("gate", &["gate.example"]);
    let gateway = start(showing(&files)).await;
    let (cert, key) = new.pem(&["gate.example"]);
    // A certificate without its key: the gateway says so and shows the old one.
    put(&files.cert, &cert);
    let said = async {
        while !gateway
            .metrics()
            .await
            .contains("anp_gateway_certificate_failures_total 1\n")
        {}
    };
    soon(said).await;
    connect(gateway.public, old.client(&[])).await.unwrap();
    // The key comes, too.
    put(&files.key, &key);
    let shown = async { while connect(gateway.public, new.client(&[])).await.is_err() {} };
    soon(shown).await;
    // An expired one is no replacement.
    let (cert, key) = old.expired_pem(&["gate.example"]);
    put(&files.cert, &cert);
    put(&files.key, &key);
    let said = async {
        while !gateway
            .metrics()
            .await
            .contains("anp_gateway_certificate_failures_total 2\n")
        {}
    };
    soon(said).await;
    connect(gateway.public, new.client(&[])).await.unwrap();
}
