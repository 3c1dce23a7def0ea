//! The README's way from nothing to a tunnel that has proved who it is, run as it is written.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Stdio,
    thread,
};

use crate::child::{Running, command, finished};

/// The commands of the README's chapter, each as its words.
fn commands() -> Vec<Vec<String>> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = fs::read_to_string(readme).unwrap();
    let chapter = text.split("## Receivers that prove who they are").nth(1);
    let block = chapter.unwrap().split("```").nth(1).unwrap();
    let lines = block.replace("\\\n", " ");
    let lines = lines.lines().filter(|line| !line.is_empty());
    let words = lines.map(|line| {
        // No word of them has a space or a quote in it.
        let words = line.split_whitespace();
        words.map(|word| word.trim_matches('\'').to_owned())
    });
    words.map(Iterator::collect).collect()
}

/// The arguments of a command that must be one of ours, with other addresses.
fn arguments(words: &[String], moved: &[(&str, &str)]) -> Vec<String> {
    assert_eq!(words[0], "anp-proxy");
    let words = words[1..].iter().map(|word| {
        let mut word = word.clone();
        for (from, to) in moved {
            word = word.replace(from, to);
        }
        word
    });
    words.collect()
}

fn strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// An app that says which target it was asked for.
fn app() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    let (mut head, mut some) = (Vec::new(), [0; 1024]);
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        match stream.read(&mut some) {
            Ok(1..) => head.extend(some),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head);
    let body = format!("asked for {}", head.split(' ').nth(1).unwrap_or_default());
    let length = body.len();
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
}

fn get(address: &str, target: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn address(gateway: &Running, listener: &str) -> String {
    let line = gateway.logs(&format!("\"listener\":\"{listener}\""));
    let address = line.split("\"address\":\"").nth(1).unwrap();
    address.split('"').next().unwrap().to_owned()
}

#[test]
fn three_commands_lead_to_a_tunnel_that_proved_who_it_is() {
    let commands = commands();
    let [gateway, new, receiver] = &commands[..] else {
        panic!("the README has other commands than three: {commands:?}");
    };
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name).display().to_string();
    let files = [
        format!("gateway.endpoint_store={}", path("endpoints.redb")),
        format!("gateway.auth.token_key={}", path("tokens.pem")),
        format!("gateway.auth.replay_store={}", path("nonces.redb")),
    ];
    let mut args = arguments(gateway, &[("127.0.0.1:9000", "127.0.0.1:0")]);
    let any = "127.0.0.1:0";
    args.extend(["--listen", any, "--tunnel-listen", any].map(str::to_owned));
    args.extend(["--log-format", "json"].map(str::to_owned));
    args.extend(
        files
            .into_iter()
            .flat_map(|file| ["--set".to_owned(), file]),
    );
    let gateway = Running::start(&strs(&args));
    let (public, tunnel) = (address(&gateway, "public"), address(&gateway, "tunnel"));
    let admin = format!("http://{}", address(&gateway, "admin"));

    let me = path("me");
    let mut args = arguments(new, &[]);
    assert_eq!(args.iter().filter(|word| *word == "me").count(), 1);
    args.iter_mut()
        .filter(|word| *word == "me")
        .for_each(|word| word.clone_from(&me));
    args.extend(["--admin".to_owned(), admin.clone()]);
    let made = command(&strs(&args)).stdin(Stdio::null()).output().unwrap();
    let (code, out, err) = finished(made);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(
        out.contains("hosted by the gateway, for https://localhost/me/e1_"),
        "{out}"
    );

    // What is printed as the next step works here, too.
    let then = out.lines().find_map(|line| line.strip_prefix("then "));
    let then: Vec<_> = then.unwrap().split_whitespace().skip(1).collect();
    let (code, listed, err) = finished(command(&then).stdin(Stdio::null()).output().unwrap());
    assert_eq!((code, err.as_str()), (0, ""), "{then:?}");
    assert!(listed.contains("did:wba:localhost:me:e1_"), "{listed}");

    let port = format!(":{}", tunnel.rsplit(':').next().unwrap());
    let files = [
        ("me/did.json", &path("me/did.json")),
        ("me/key.pem", &path("me/key.pem")),
    ];
    let moved = [
        (":8765", port.as_str()),
        ("127.0.0.1:8000", &app()),
        (files[0].0, files[0].1),
        (files[1].0, files[1].1),
    ];
    let receiver = Running::start(&strs(&arguments(receiver, &moved)));
    receiver.says("http://localhost:8080/me/ → ");
    gateway.logs("\"message\":\"tunnel ready\"");
    let answer = get(&public, "/me/x?y");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("asked for /x?y"), "{answer}");
    assert!(get(&public, "/").starts_with("HTTP/1.1 404"));

    // The document is there for everybody, and nobody else gets the name.
    let did = out.lines().next().unwrap();
    let target = format!(
        "/{}/did.json",
        did["did:wba:localhost:".len()..].replace(':', "/")
    );
    assert!(get(&public, &target).contains(did));
    let other = path("other");
    let again = [
        "did",
        "new",
        "localhost/me",
        "--publish",
        "--out",
        &other,
        "--admin",
        &admin,
    ];
    let (code, _, err) = finished(command(&again).stdin(Stdio::null()).output().unwrap());
    assert_eq!(code, 1);
    assert!(err.contains(did) && err.contains("withdrawn"), "{err}");
    let list = ["did", "list", "--admin", &admin];
    let (_, out, _) = finished(command(&list).stdin(Stdio::null()).output().unwrap());
    assert_eq!(out.matches("did:wba:").count(), 1, "{out}");
}
