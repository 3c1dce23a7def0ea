//! A gateway whose log nobody reads.

use std::{
    io::{BufRead as _, BufReader, Read},
    process::{Child, Stdio},
};

use crate::{child::command, serving::get};

/// Bytes of a path, which stands in the log: a pipe is full after a few lines.
const LONG: usize = 7 << 10;

/// More than a pipe and all that waits for it hold.
const MANY: usize = (2 << 20) / LONG;

/// A gateway that logs requests to a pipe that nobody reads beyond its first lines. Where callers and the
/// admin's connect.
fn gateway() -> (Child, [String; 2]) {
    let any = "127.0.0.1:0";
    let args = ["gateway", "--listen", any, "--tunnel-listen", any];
    let more = [
        "--admin-listen",
        any,
        "--set",
        "gateway.access_log=true",
        "--log-format=json",
    ];
    let mut gateway = command(&[&args[..], &more].concat())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = gateway.stderr.as_mut().unwrap();
    let addresses = ["public", "admin"].map(|listener| address(log, listener));
    (gateway, addresses)
}

/// Reads up to the line that says where `listener` is.
fn address(log: &mut impl Read, listener: &str) -> String {
    let listener = format!("\"listener\":\"{listener}\"");
    loop {
        let mut line = Vec::new();
        let mut byte = [0];
        while byte != *b"\n" {
            log.read_exact(&mut byte).unwrap();
            line.extend(byte);
        }
        let line = String::from_utf8(line).unwrap();
        if line.contains(&listener) {
            let (_, address) = line.split_once("\"address\":\"").unwrap();
            return address.split('"').next().unwrap().to_owned();
        }
    }
}

/// Sends requests that fill the log, all of which must be answered.
fn fill(public: &str) {
    for number in 0..MANY {
        let answer = get(public, &format!("/{number}/{}", "x".repeat(LONG)));
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
}

fn stop(gateway: &Child) {
    let pid = gateway.id().to_string();
    let killed = std::process::Command::new("kill").arg(pid).status();
    assert!(killed.unwrap().success());
}

#[test]
fn a_gateway_whose_log_nobody_reads_answers_and_stops() {
    let (mut gateway, [public, admin]) = gateway();
    fill(&public);
    let metrics = get(&admin, "/metrics");
    let dropped = "\nanp_log_lines_dropped_total ";
    let (_, dropped) = metrics.split_once(dropped).unwrap();
    let dropped: usize = dropped.lines().next().unwrap().parse().unwrap();
    assert!((1..MANY).contains(&dropped), "{dropped}");
    stop(&gateway);
    // Its log is still unread.
    assert_eq!(gateway.wait().unwrap().code(), Some(0));
}

#[test]
fn a_log_that_is_read_again_says_what_is_missing() {
    let (mut gateway, [public, _]) = gateway();
    fill(&public);
    let mut log = BufReader::new(gateway.stderr.take().unwrap());
    let mut lines = log.by_ref().lines().map(Result::unwrap);
    let before: Vec<_> = lines
        .by_ref()
        .take_while(|line| !line.contains("are missing here"))
        .collect();
    for (number, line) in before.iter().enumerate() {
        assert!(line.contains(&format!("\"path\":\"/{number}/")), "{line}");
        assert!(line.ends_with('}'), "{line}");
    }
    stop(&gateway);
    // Nothing of the end is lost.
    let rest: Vec<_> = lines.collect();
    let said = |text: &str| rest.iter().any(|line| line.contains(text));
    assert!(said("stopping; once more"), "{rest:#?}");
    assert_eq!(gateway.wait().unwrap().code(), Some(0));
}
