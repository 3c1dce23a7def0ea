//! Heads as the caller and the app wrote them.

use anp_testkit::{App, Caller, Rig, soon};

/// One exchange: the head the app saw, and the caller after `answer` was written.
async fn exchange(request: &str, answer: &'static str) -> (String, Caller, Rig) {
    let (app, mut calls) = App::by_hand().await;
    let rig = Rig::start(&app).await;
    let mut caller = rig.caller().await;
    caller.send(request).await;
    let mut call = soon(calls.recv()).await.unwrap();
    let head = soon(call.head()).await.unwrap();
    call.send(answer).await;
    // The app stays as it is until the caller has read what came before.
    let after = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext";
    tokio::spawn(async move {
        let _app = app;
        loop {
            while call.head().await.is_some() {
                call.send(after).await;
            }
            match calls.recv().await {
                Some(next) => call = next,
                None => return,
            }
        }
    });
    (head, caller, rig)
}

/// The caller's connection serves another request: nothing of the last one is left on it.
async fn is_clean(caller: &mut Caller) {
    caller.get("/next").await;
    let (head, body) = soon(caller.response()).await;
    assert_eq!((head.status, &body[..]), (200, &b"next"[..]));
}

#[tokio::test]
async fn the_target_arrives_byte_for_byte() {
    let target = "/a%2Fb/../%C3%A4//c;d=1?q=%20&q=+&empty=&bare";
    let request = format!("GET {target} HTTP/1.1\r\nHost: Example.Test:81\r\n\r\n");
    let (head, mut caller, _rig) =
        exchange(&request, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert!(
        head.starts_with(&format!("GET {target} HTTP/1.1\r\n")),
        "{head}"
    );
    let host = head.to_lowercase();
    assert!(host.contains("\r\nhost: example.test:81\r\n"), "{head}");
    assert_eq!(soon(caller.head()).await.status, 200);
    is_clean(&mut caller).await;
}

#[tokio::test]
async fn repeated_headers_stay_apart() {
    let (head, mut caller, _rig) = exchange(
        "GET / HTTP/1.1\r\nHost: test\r\nX-Twice: 1\r\nX-Twice: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let lower = head.to_lowercase();
    assert!(lower.contains("x-twice: 1\r\nx-twice: 2\r\n"), "{head}");
    let answer = soon(caller.head()).await.text.to_lowercase();
    assert!(answer.contains("set-cookie: a=1; path=/\r\n"), "{answer}");
    assert!(answer.contains("set-cookie: b=2\r\n"), "{answer}");
}

#[tokio::test]
async fn answers_without_a_body() {
    let cases = [
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n",
            200,
            Some("12345"),
        ),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, None),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\r\n",
            304,
            None,
        ),
    ];
    for (method, answer, status, length) in cases {
        let request = format!("{method} / HTTP/1.1\r\nHost: test\r\n\r\n");
        let (seen, mut caller, _rig) = exchange(&request, answer).await;
        assert!(seen.starts_with(method), "{seen}");
        let head = soon(caller.head()).await;
        assert_eq!(head.status, status);
        assert_eq!(head.header("content-length"), length, "{}", head.text);
        is_clean(&mut caller).await;
    }
}
