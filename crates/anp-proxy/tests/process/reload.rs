//! SIGHUP: what can change changes, what cannot is named, what is wrong changes nothing.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use crate::child::Running;

const BEGIN: &str = r#"
[gateway]
listen = "127.0.0.1:0"
tunnel_listen = "127.0.0.1:0"
workers = 1
[[gateway.endpoints]]
name = "a"
path = "/a"
receivers = ["r"]
"#;

/// The status line of `GET target`.
fn status(stream: &mut TcpStream, target: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut some = [0; 4096];
    while !answer.windows(4).any(|w| w == b"\r\n\r\n") {
        let read = stream.read(&mut some).unwrap();
        assert_ne!(read, 0);
        answer.extend_from_slice(&some[..read]);
    }
    String::from_utf8_lossy(&answer)[9..12].to_owned()
}

#[test]
fn a_hangup_reads_the_configuration_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("anp.toml");
    fs::write(&file, BEGIN).unwrap();
    let mut gateway = Running::start(&[
        "gateway",
        "--log-format",
        "human",
        "--config",
        file.to_str().unwrap(),
    ]);
    let line = gateway.says(" → receivers at ");
    let address = line.split(' ').next().unwrap();
    let mut caller = TcpStream::connect(address.strip_prefix("http://").unwrap()).unwrap();
    assert_eq!(status(&mut caller, "/a"), "503");
    assert_eq!(status(&mut caller, "/b"), "404");

    let more = "[[gateway.endpoints]]\nname = \"b\"\npath = \"/b\"\nreceivers = [\"r\"]\n";
    let changed = BEGIN.replace("workers = 1", "workers = 2\nqueue_size = 7");
    fs::write(&file, changed.clone() + more).unwrap();
    gateway.signal("HUP");
    let line = gateway.logs("configuration reloaded");
    assert!(line.contains("endpoints queue_size"), "{line}");
    let line = gateway.logs("only with a restart");
    assert!(line.contains("workers"), "{line}");
    // On the connection that was there before.
    assert_eq!(status(&mut caller, "/b"), "503");

    fs::write(
        &file,
        "[log]\nlevel = \"debug\"\n".to_owned() + &changed + more,
    )
    .unwrap();
    gateway.signal("HUP");
    gateway.logs("log.level changed");
    fs::write(&file, changed + "max_tunels = 3\n").unwrap();
    gateway.signal("HUP");
    let line = gateway.logs("the configuration was not reloaded");
    assert!(
        line.contains("anp.toml:") && line.contains("max_tunels"),
        "{line}"
    );
    assert_eq!(status(&mut caller, "/b"), "503");
    gateway.signal("TERM");
    assert_eq!(gateway.ends(), 0);
}

#[test]
fn a_hangup_stops_a_receiver_as_a_term_does() {
    let mut receiver = Running::start(&[
        "receiver",
        "--log-format",
        "human",
        "--gateway",
        "ws://127.0.0.1:9",
        "--to",
        "http://127.0.0.1:9",
    ]);
    receiver.logs("trying again");
    receiver.signal("HUP");
    receiver.logs("stopping");
    assert_eq!(receiver.ends(), 0);
}
