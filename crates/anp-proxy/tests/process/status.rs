//! The status listener of a receiver.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::{
    child::{Running, run},
    usage::Scratch,
};

/// How long a state may take to come about.
const PATIENCE: Duration = Duration::from_secs(60);

/// Status and body of a GET.
fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

/// Asks until the answer is as wanted; gives its body.
fn until(address: &str, path: &str, wanted: impl Fn(u16, &str) -> bool) -> String {
    let begun = Instant::now();
    loop {
        let (status, body) = get(address, path);
        if wanted(status, &body) {
            return body;
        }
        assert!(begun.elapsed() < PATIENCE, "{path} stays {status}: {body}");
        thread::yield_now();
    }
}

/// A gateway, where callers connect, and where receivers do.
fn gateway() -> (Running, String, String) {
    let any = "127.0.0.1:0";
    let gateway = Running::start(&["gateway", "--listen", any, "--tunnel-listen", any]);
    let line = gateway.says(" → receivers at ws://");
    let (public, tunnel) = line.split_once(" → receivers at ").unwrap();
    let public = public.strip_prefix("http://").unwrap().to_owned();
    let tunnel = tunnel.to_owned();
    (gateway, public, tunnel)
}

/// A receiver, and where its status is.
fn receiver(gateway: &str, app: &str, more: &[&str]) -> (Running, String) {
    let args = ["receiver", "--gateway", gateway, "--to", app];
    let status = ["--status-listen", "127.0.0.1:0"];
    let receiver = Running::start(&[&args[..], &status, more].concat());
    let line = receiver.says("/readyz");
    let address = line.split(' ').next().unwrap();
    let address = address.strip_prefix("http://").unwrap().to_owned();
    (receiver, address)
}

#[test]
fn a_receiver_is_ready_while_requests_get_through() {
    let app = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("http://{}", app.local_addr().unwrap());
    let (gateway, public, tunnel) = gateway();
    let (mut receiver, status) = receiver(&tunnel, &to, &["--name", "lab"]);
    until(&status, "/readyz", |code, body| {
        (code, body) == (200, "ready\n")
    });

    // One request is under way while the receiver stops.
    let caller = thread::spawn(move || get(&public, "/"));
    let mut call = loop {
        let (mut call, _) = app.accept().unwrap();
        // The first connection only looks whether anybody is there.
        if call.read(&mut [0; 4096]).unwrap() > 0 {
            break call;
        }
    };
    receiver.signal("TERM");
    let body = until(&status, "/readyz", |code, _| code == 503);
    assert_eq!(body, "not ready\nlab: it is stopping\n");
    assert_eq!(get(&status, "/healthz"), (200, "ok\n".to_owned()));
    let (_, metrics) = get(&status, "/metrics");
    let in_flight = format!("anp_receiver_in_flight{{receiver=\"lab\",gateway=\"{tunnel}\"}} 1\n");
    assert!(metrics.contains(&in_flight), "{metrics}");
    call.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .unwrap();
    assert_eq!(caller.join().unwrap(), (200, "ok".to_owned()));
    assert_eq!(receiver.ends(), 0);
    drop(gateway);
}

#[test]
fn what_is_missing_is_said() {
    let (mut gateway, _, tunnel) = gateway();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let app = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let more = [
        "--health-path",
        "/",
        "--set",
        "receiver.health_interval=1ms",
    ];
    let (_receiver, status) = receiver(&tunnel, &app, &more);
    until(&status, "/readyz", |code, body| {
        (code, body) == (503, "not ready\nthe app is down\n")
    });
    let tunnels =
        |count| format!("anp_receiver_tunnels{{receiver=\"\",gateway=\"{tunnel}\"}} {count}\n");
    until(&status, "/metrics", |_, body| {
        body.contains("anp_receiver_app_up{receiver=\"\"} 0\n") && body.contains(&tunnels(2))
    });
    gateway.signal("TERM");
    assert_eq!(gateway.ends(), 0);
    let refused = format!("not ready\nno tunnel to {tunnel}: cannot connect to ");
    until(&status, "/readyz", |code, body| {
        code == 503 && body.starts_with(&refused) && body.contains("; trying again ")
    });
    until(&status, "/metrics", |_, body| body.contains(&tunnels(0)));
}

#[test]
fn an_address_that_is_taken_or_none_is_told_before_anything_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let args = [
        "receiver",
        "--gateway",
        "ws://127.0.0.1:9",
        "--to",
        "http://127.0.0.1:9",
    ];
    let (code, out, err) = run(&[&args[..], &["--status-listen", &address]].concat());
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    let expected = format!(
        "cannot listen on {address} (receiver.status_listen, from --status-listen): another"
    );
    assert!(err.contains(&expected), "{err}");
    assert!(!err.contains("tunnel"), "{err}");

    let file = Scratch::new(b"[receiver]\nstatus_listen = \"9001\"\n");
    let (code, _, err) = run(&["config", "check", "--config", file.path()]);
    assert_eq!(code, 1, "{err}");
    let place = format!("{}:2:17: receiver.status_listen: ", file.path());
    assert!(err.starts_with(&place), "{err}");
    let good = Scratch::new(b"[receiver]\nstatus_listen = \"0.0.0.0:9001\"\n");
    let (code, out, err) = run(&["config", "show", "--config", good.path()]);
    assert_eq!(code, 0, "{err}");
    let line = out
        .lines()
        .find(|line| line.starts_with("status_listen = "));
    let line = line.unwrap();
    assert!(
        line.contains("\"0.0.0.0:9001\"") && line.contains(":2"),
        "{line}"
    );
}

#[test]
fn dev_has_a_status_too() {
    let dev = Running::start(&[
        "dev",
        "--listen",
        "127.0.0.1:0",
        "--to",
        "http://127.0.0.1:9",
        "--set",
        "receiver.status_listen=127.0.0.1:0",
    ]);
    let line = dev.says("/readyz");
    let address = line.split(' ').next().unwrap().strip_prefix("http://");
    until(address.unwrap(), "/readyz", |code, _| code == 200);
}
