//! Commands that serve until they are told to stop.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    thread,
    time::Duration,
};

use crate::child::{Running, command, limited, run};

/// Starts the sample app behind a tunnel; the address callers use.
fn demo() -> (Running, String) {
    let demo = Running::start(&["demo", "--listen", "127.0.0.1:0"]);
    let line = demo.says(" → the sample app");
    let address = line.split(' ').next().unwrap();
    let address = address.strip_prefix("http://").unwrap().to_owned();
    (demo, address)
}

fn send(address: &str, target: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

pub(crate) fn get(address: &str, target: &str) -> String {
    let mut answer = String::new();
    send(address, target).read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_demo_answers_and_ends_with_0() {
    let (mut demo, address) = demo();
    // The line came once requests get through: the very first one is answered.
    let answer = get(&address, "/");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains(&format!("curl -N http://{address}/sse")),
        "{answer}"
    );
    let answer = get(&address, "/sse?pause_ms=1");
    assert!(answer.contains("data: [DONE]"), "{answer}");
    demo.signal("INT");
    assert_eq!(demo.ends(), 0);
}

/// Asks for `target` and reads up to the first event of its body.
fn first_event(address: &str, target: &str) -> TcpStream {
    let mut stream = send(address, target);
    let (mut answer, mut some) = (Vec::new(), [0; 1024]);
    while !answer.windows(5).any(|bytes| bytes == b"data:") {
        let read = stream.read(&mut some).unwrap();
        assert_ne!(read, 0);
        answer.extend_from_slice(&some[..read]);
    }
    stream
}

#[test]
fn the_first_signal_lets_requests_end() {
    let (mut demo, address) = demo();
    let mut stream = first_event(&address, "/sse?pause_ms=10");
    demo.signal("TERM");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("data: [DONE]"), "{rest}");
    assert_eq!(demo.ends(), 0);
}

#[test]
fn a_stop_is_no_news_of_a_gateway_that_drains() {
    // Which of the two hears of the stop first was a matter of luck.
    for _ in 0..10 {
        let (mut demo, _) = demo();
        demo.signal("INT");
        let (code, lines) = demo.ends_saying();
        assert_eq!(code, 0);
        let news = |line: &&String| line.contains("opening another") || line.contains("no tunnel");
        assert_eq!(lines.iter().find(news), None);
    }
}

#[test]
fn the_second_signal_does_not_wait() {
    let (mut demo, address) = demo();
    let _waiting = first_event(&address, "/sse?pause_ms=60000");
    demo.signal("TERM");
    demo.logs("draining");
    demo.signal("TERM");
    assert_eq!(demo.ends(), 0);
}

#[test]
fn a_second_gateway_on_the_same_port_is_refused() {
    let (_demo, address) = demo();
    let (code, _, err) = run(&[
        "gateway",
        "--listen",
        &address,
        "--tunnel-listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("another program listens there"), "{err}");
}

#[test]
fn gateway_and_receiver_say_what_they_do() {
    let (gateway, address, tunnel) = gateway(&["gateway.public_url=https://gate.example/"]);
    let known = gateway.says("https://gate.example");
    assert_eq!(known, format!("https://gate.example → http://{address}"));
    // Port 9 of loopback: nobody serves discard any more.
    let mut receiver = Running::start(&[
        "receiver",
        "--gateway",
        &tunnel,
        "--to",
        "http://127.0.0.1:9",
    ]);
    assert_eq!(receiver.says("→"), format!("{tunnel} → http://127.0.0.1:9"));
    receiver.logs("nothing answers at http://127.0.0.1:9");
    gateway.logs("tunnel ready");
    receiver.signal("TERM");
    assert_eq!(receiver.ends(), 0);
}

#[test]
fn a_gateway_that_is_not_there_is_tried_again() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", free.local_addr().unwrap());
    drop(free);
    let mut receiver =
        Running::start(&["receiver", "--gateway", &url, "--to", "http://127.0.0.1:9"]);
    receiver.logs("trying again in");
    receiver.signal("INT");
    assert_eq!(receiver.ends(), 0);
}

#[test]
fn a_gateway_that_stays_away_is_given_up_where_told_so() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("ws://{}/t", free.local_addr().unwrap());
    let url = format!("{place}?key=sekret");
    drop(free);
    let receiver = [
        "receiver",
        "--gateway",
        &url,
        "--to",
        "http://127.0.0.1:9",
        "--set",
        "receiver.max_reconnect_attempts=1",
        "--set",
        "receiver.reconnect_delay=1ms",
    ];
    let (code, _, err) = run(&[&receiver[..], &["--log-format", "human"]].concat());
    assert_eq!(code, 1);
    let last = err.lines().last().unwrap();
    let expected = format!("error: gave up on gateway {place}: ");
    assert!(last.starts_with(&expected), "{err}");
    // What a query says is for the gateway alone.
    assert!(!err.contains("sekret"), "{err}");
    let (_, out, err) = run(&[&receiver[..], &["--check"]].concat());
    assert!(out.contains(&format!("FAIL  {place}: ")), "{out}");
    assert!(!(out + &err).contains("sekret"));
    let setting = format!("receiver.gateways={url}");
    let (_, out, _) = run(&["config", "show", "--set", &setting]);
    assert!(out.contains(&place) && !out.contains("sekret"), "{out}");
    // As JSON every line is an object, the last one included, whatever the level.
    for level in ["info", "off"] {
        let json = ["--log-format", "json", "--log-level", level];
        let (code, _, err) = run(&[&receiver[..], &json].concat());
        assert_eq!(code, 1);
        let lines = err.lines().map(|line| serde_json::from_str(line).unwrap());
        let lines: Vec<serde_json::Value> = lines.collect();
        let last = lines.last().unwrap();
        assert_eq!(last["level"], "ERROR");
        assert!(
            last["timestamp"].is_string() && last["target"].is_string(),
            "{last}"
        );
        let message = last["message"].as_str().unwrap();
        assert!(message.starts_with("gave up on gateway"), "{message}");
        assert_eq!(lines.len() == 1, level == "off");
    }
}

#[test]
fn another_protocol_at_the_other_end_is_named() {
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200"),
        ("SSH-2.0-OpenSSH_9.9\r\n\r\n", "HTTP"),
    ] {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", other.local_addr().unwrap());
        thread::spawn(move || {
            for stream in other.incoming() {
                let mut stream = stream.unwrap();
                let mut head = [0; 4096];
                // The receiver may be gone already.
                let _ = stream.read(&mut head);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        let receiver =
            Running::start(&["receiver", "--gateway", &url, "--to", "http://127.0.0.1:9"]);
        let line = receiver.logs("no tunnel");
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn a_service_manager_is_told_when_a_gateway_and_a_receiver_serve_and_stop() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("notify");
    let manager = UnixDatagram::bind(&place).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let told = || {
        let mut message = [0; 64];
        let len = manager.recv(&mut message).unwrap();
        String::from_utf8(message[..len].to_vec()).unwrap()
    };
    let start = |args: &[&str]| {
        let mut command = command(args);
        Running::spawn(
            command
                .env("NOTIFY_SOCKET", &place)
                .env("STATE_DIRECTORY", directory.path()),
        )
    };
    // Nobody listens on port 9 (discard): a receiver serves as well as it can.
    let receiver = ["receiver", "--gateway", "ws://127.0.0.1:9"];
    let gateway = ["gateway", "--tunnel-listen", "127.0.0.1:0"];
    for (args, to) in [
        (gateway, ["--listen", "127.0.0.1:0"]),
        (receiver, ["--to", "http://127.0.0.1:9"]),
    ] {
        let mut running = start(&[&args[..], &to].concat());
        assert_eq!(told(), "READY=1\n");
        running.signal("TERM");
        assert_eq!(told(), "STOPPING=1\n");
        assert_eq!(running.ends(), 0);
    }
}

/// A gateway on any ports with these settings, where callers connect, and the URL for receivers.
pub(crate) fn gateway(settings: &[&str]) -> (Running, String, String) {
    let any = "127.0.0.1:0";
    let mut args = vec!["gateway", "--listen", any, "--tunnel-listen", any];
    args.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let gateway = Running::start(&args);
    let line = gateway.says(" → receivers at ws://");
    let (here, tunnel) = line.split_once(" → receivers at ").unwrap();
    let address = here.strip_prefix("http://").unwrap().to_owned();
    (gateway, address, tunnel.to_owned())
}

/// A gateway on any ports, as far as `ulimit` lets it, and where callers connect.
fn gateway_limited(ulimit: &str, more: &[&str]) -> (Running, String) {
    let any = "127.0.0.1:0";
    let args = ["gateway", "--listen", any, "--tunnel-listen", any];
    let gateway = Running::spawn(&mut limited(ulimit, &[&args[..], more].concat()));
    let line = gateway.says(" → receivers at ");
    let address = line.split(' ').next().unwrap();
    let address = address.strip_prefix("http://").unwrap().to_owned();
    (gateway, address)
}

#[cfg(target_os = "linux")]
#[test]
fn a_gateway_may_open_all_that_the_system_lets_it() {
    let (gateway, _) = gateway_limited("-S -n 256", &[]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.id())).unwrap();
    let line = limits.lines().find(|l| l.starts_with("Max open files"));
    let words: Vec<_> = line.unwrap().split_whitespace().collect();
    let [.., soft, hard, _] = words[..] else {
        panic!("other words: {words:?}");
    };
    assert_eq!(soft, hard);
    assert_ne!(soft, "256");
}

#[cfg(unix)]
#[test]
fn a_limit_below_what_may_come_in_is_told_once_and_what_it_does_by_episode() {
    let more = ["--set", "gateway.workers=1", "--log-format", "json"];
    let (gateway, address) = gateway_limited("-n 64", &more);
    let line = gateway.logs("\"needed\":30128");
    assert!(line.contains("\"limit\":64"), "{line}");
    assert!(line.contains("LimitNOFILE="), "{line}");
    let connections: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(&address).unwrap())
        .collect();
    let line = gateway.logs("connections cannot be taken");
    assert!(line.contains("\"listener\":\"public\""), "{line}");
    drop(connections);
    let lines = gateway.logs_up_to("connections are taken again");
    assert!(
        !lines.iter().any(|line| line.contains("cannot be taken")),
        "{lines:?}"
    );
}
