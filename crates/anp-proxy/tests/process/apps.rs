//! A receiver and its apps: what it would find, and several apps in one process.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use crate::{
    child::{Running, run},
    serving::{gateway, get},
};

/// An app on a port of its own that answers each request with `body`.
pub(crate) fn app_saying(body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for caller in listener.incoming() {
            let mut caller = caller.unwrap();
            // The pool or a look whether anybody is there may leave without a request.
            let mut head = [0; 1024];
            if matches!(caller.read(&mut head), Ok(n) if n > 0) {
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
                );
                let _ = caller.write_all(answer.as_bytes());
            }
        }
    });
    url
}

#[test]
fn a_check_says_what_a_receiver_would_find_and_takes_no_request() {
    let (gateway, _, tunnel) = gateway(&[
        "gateway.endpoints=[{name='e', path='/e', receivers=['known']}]",
        "gateway.public_url=https://gate.example",
    ]);
    let app = app_saying("here");
    let check = ["receiver", "--check", "--gateway", &tunnel, "--to", &app];
    let (code, out, err) = run(&[&check[..], &["--name", "known"]].concat());
    assert_eq!(
        out,
        format!(
            "ok    {tunnel}: takes this receiver; callers reach it at https://gate.example/e/\n\
             ok    {app}: takes connections\n"
        )
    );
    assert_eq!((code, err.as_str()), (0, ""));
    // Nobody lost a tunnel that never was one.
    let closed = gateway.logs("\"message\":\"tunnel ");
    assert!(closed.contains("\"message\":\"tunnel closed\""), "{closed}");

    // Nobody listens on port 9 (discard).
    let (code, out, _) = run(&[
        "receiver",
        "--check",
        "--gateway",
        &tunnel,
        "--name",
        "stranger",
        "--gateway",
        "ws://127.0.0.1:9",
        "--to",
        "http://127.0.0.1:9",
        "--health-path",
        "/x",
    ]);
    let mut lines = out.lines();
    let mut next = || lines.next().unwrap_or_default();
    let refused = next();
    assert!(
        refused.starts_with(&format!(
            "FAIL  {tunnel}: the gateway refused the tunnel: HTTP 403"
        )),
        "{refused}"
    );
    assert!(next().starts_with("FAIL  ws://127.0.0.1:9: cannot connect to 127.0.0.1:9: "));
    assert!(next().starts_with("FAIL  http://127.0.0.1:9: "));
    assert_eq!(code, 1);
}

#[test]
fn one_receiver_process_has_several_apps() {
    let served = |name: &str| format!("{{name='{name}', path='/{name}', receivers=['{name}']}}");
    let endpoints = format!(
        "gateway.endpoints=[{}, {}]",
        served("chat"),
        served("files")
    );
    let (_gateway, address, tunnel) = gateway(&[&endpoints]);
    let (chat, files) = (app_saying("chat!"), app_saying("files!"));
    let mut receiver = Running::start(&[
        "receiver",
        "--gateway",
        &tunnel,
        "--set",
        &format!("receiver.apps.chat.to={chat}"),
        "--set",
        &format!("receiver.apps.files={{to=['{files}'], tunnels=1}}"),
    ]);
    receiver.says(&format!("{tunnel} → {chat}"));
    receiver.says(&format!("{tunnel} → {files}"));
    let mut missing = vec!["chat", "files"];
    while !missing.is_empty() {
        let line = receiver.logs("tunnel ready");
        missing.retain(|name| !line.contains(&format!("\"receiver\":\"{name}\"")));
    }
    for _ in 0..2 {
        assert!(get(&address, "/chat").ends_with("\r\n\r\nchat!"));
        assert!(get(&address, "/files").ends_with("\r\n\r\nfiles!"));
    }
    receiver.signal("TERM");
    assert_eq!(receiver.ends(), 0);
}
