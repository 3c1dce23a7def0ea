//! SIGHUP: what can change changes, what cannot is named, what is wrong changes nothing.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use crate::{
    apps::app_saying,
    child::Running,
    serving::{gateway, get},
};

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

/// A receiver of the configuration in a file that tests write.
struct Configured {
    _directory: tempfile::TempDir,
    file: std::path::PathBuf,
    receiver: Running,
}

impl Configured {
    fn start(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("anp.toml");
        fs::write(&file, text).unwrap();
        let config = file.to_str().unwrap();
        let receiver = Running::start(&["receiver", "--log-format", "human", "--config", config]);
        Self {
            _directory: directory,
            file,
            receiver,
        }
    }

    /// What the log says of a reload with `text`.
    fn reload(&self, text: &str) -> String {
        fs::write(&self.file, text).unwrap();
        self.receiver.signal("HUP");
        self.receiver.logs("reloaded")
    }
}

fn changed(keys: &str) -> String {
    format!("changed=\"{keys}\"")
}

#[test]
fn a_hangup_has_a_receiver_read_its_file_again() {
    let (_gateway, address, tunnel) = gateway(&[]);
    let (one, two) = (app_saying("one"), app_saying("two"));
    let text = |to: &str| format!("[receiver]\ngateways = [\"{tunnel}\"]\nto = [\"{to}\"]\n");
    let mut running = Configured::start(&text(&one));
    running.receiver.logs("tunnel ready");
    assert!(get(&address, "/").ends_with("\r\n\r\none"));

    let line = running.reload(&text(&two));
    assert!(line.ends_with(&changed("to")), "{line}");
    running.receiver.says(&format!("{tunnel} → {two}"));
    assert!(get(&address, "/").ends_with("\r\n\r\ntwo"));
    let line = running.reload(&text(&two));
    assert!(line.ends_with("reloaded: nothing changed"), "{line}");

    let more = "workers = 2\nstatus_listen = \"127.0.0.1:0\"\ndrain_timeout = \"7s\"\n";
    let line = running.reload(&(text(&two) + more));
    assert!(line.ends_with(&changed("drain_timeout")), "{line}");
    let line = running.receiver.logs("only with a restart");
    assert!(line.contains("workers status_listen"), "{line}");

    for (wrong, place) in [
        (
            "drain_timout = \"9s\"\n",
            ":4:1: unknown key \"drain_timout\"",
        ),
        ("tunnels = 0\n", ":4:11: receiver.tunnels: expected 1 to 64"),
        (
            "token_file = \"/nonexistent/token\"\n",
            ":4:14: receiver.token_file: ",
        ),
        ("gateways = []\n", ":4:1: "),
    ] {
        let line = running.reload(&(text(&one) + wrong));
        assert!(
            line.contains("ERROR the configuration was not reloaded"),
            "{line}"
        );
        assert!(line.contains(place), "{line}");
    }
    assert!(get(&address, "/").ends_with("\r\n\r\ntwo"));
    let line = running.reload(&("[log]\nlevel = \"debug\"\n".to_owned() + &text(&two)));
    assert!(
        line.ends_with(&changed("drain_timeout log.level")),
        "{line}"
    );
    running.receiver.logs("log.level changed");

    // Whichever of the two it sees first, it stops.
    fs::write(&running.file, text(&one)).unwrap();
    running.receiver.signal("HUP");
    running.receiver.signal("TERM");
    assert_eq!(running.receiver.ends(), 0);
}

#[test]
fn apps_of_a_receiver_come_and_go() {
    let served = |name: &str| format!("{{name='{name}', path='/{name}', receivers=['{name}']}}");
    let endpoints = ["chat", "files"].map(served).join(", ");
    let (_gateway, address, tunnel) = gateway(&[&format!("gateway.endpoints=[{endpoints}]")]);
    let (one, two) = (app_saying("one"), app_saying("two"));
    let text = |apps: &[(&str, &str)]| {
        let apps = apps.iter();
        let apps = apps.map(|(name, to)| format!("[receiver.apps.{name}]\nto = [\"{to}\"]\n"));
        let process = "status_listen = \"127.0.0.1:0\"";
        format!(
            "[receiver]\ngateways = [\"{tunnel}\"]\n{process}\n{}",
            apps.collect::<String>()
        )
    };
    let mut running = Configured::start(&text(&[("chat", &one)]));
    let line = running.receiver.says("/readyz");
    let status = line.split(' ').next().unwrap().strip_prefix("http://");
    let status = status.unwrap();
    running.receiver.logs("tunnel ready");

    let line = running.reload(&text(&[("chat", &one), ("files", &two)]));
    assert!(line.ends_with(&changed("apps.files")), "{line}");
    running.receiver.logs("tunnel ready receiver=\"files\"");
    assert!(get(&address, "/chat").ends_with("\r\n\r\none"));
    assert!(get(&address, "/files").ends_with("\r\n\r\ntwo"));

    let line = running.reload(&text(&[("files", &one)]));
    assert!(
        line.ends_with(&changed("apps.files.to apps.chat")),
        "{line}"
    );
    running.receiver.logs("receiver stopping receiver=\"chat\"");
    assert!(get(&address, "/files").ends_with("\r\n\r\none"));
    running.reload("[receiver]\n");
    let metrics = get(status, "/metrics");
    for line in [
        "anp_receiver_reloads_total{outcome=\"taken\"} 2\n",
        "anp_receiver_reloads_total{outcome=\"refused\"} 1\n",
        "anp_receiver_ready{receiver=\"files\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    assert!(!metrics.contains("receiver=\"chat\""), "{metrics}");
    running.receiver.signal("TERM");
    assert_eq!(running.receiver.ends(), 0);
}

#[test]
fn an_app_that_goes_waits_for_the_one_that_serves_in_its_place() {
    let served = "{name='one', path='/one', receivers=['one']}";
    let (_gateway, address, tunnel) = gateway(&[&format!("gateway.endpoints=[{served}]")]);
    let (old, new) = (app_saying("old"), app_saying("new"));
    let text = |apps: &str| format!("[receiver]\ngateways = [\"{tunnel}\"]\n{apps}");
    let mut running = Configured::start(&text(&format!("[receiver.apps.one]\nto = [\"{old}\"]\n")));
    running.receiver.logs("tunnel ready");
    // Another app of several, and then the only one of the process.
    for (apps, keys) in [
        (
            format!("[receiver.apps.two]\nname = \"one\"\nto = [\"{new}\"]\n"),
            "apps.two apps.one",
        ),
        (
            format!("name = \"one\"\nto = [\"{old}\"]\n"),
            "receiver apps.two",
        ),
    ] {
        let line = running.reload(&text(&apps));
        assert!(line.ends_with(&changed(keys)), "{line}");
        let lines = running.receiver.logs_up_to("receiver stopping");
        let ready = |line: &String| line.contains("tunnel ready receiver=\"one\"");
        assert!(lines.iter().any(ready), "{lines:?}");
    }
    // The gateway may still have to read that it stops: either has an answer.
    let answer = get(&address, "/one");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    running.receiver.signal("TERM");
    assert_eq!(running.receiver.ends(), 0);
}

#[test]
fn an_app_whose_receiver_was_refused_is_started_again() {
    let served = |name: &str| format!("{{name='{name}', path='/{name}', receivers=['{name}']}}");
    let endpoints = ["chat", "files"].map(served).join(", ");
    let (_gateway, address, tunnel) = gateway(&[&format!("gateway.endpoints=[{endpoints}]")]);
    let app = app_saying("one");
    let text = |name: &str| {
        format!(
            "[receiver]\ngateways = [\"{tunnel}\"]\n[receiver.apps.chat]\nto = [\"{app}\"]\n\
             [receiver.apps.other]\nname = \"{name}\"\nto = [\"{app}\"]\n"
        )
    };
    let mut running = Configured::start(&text("stranger"));
    running.receiver.logs("a receiver ended: ");
    let line = running.reload(&text("files"));
    assert!(line.ends_with(&changed("apps.other")), "{line}");
    running.receiver.logs("tunnel ready receiver=\"files\"");
    assert!(get(&address, "/files").ends_with("\r\n\r\none"));
    running.receiver.signal("TERM");
    assert_eq!(running.receiver.ends(), 0);
}

#[test]
fn a_hangup_stops_dev_as_a_term_does() {
    let app = app_saying("one");
    let mut dev = Running::start(&["dev", "--listen", "127.0.0.1:0", "--to", &app]);
    dev.says(" → ");
    dev.signal("HUP");
    dev.logs("stopping");
    assert_eq!(dev.ends(), 0);
}
