//! Commands that end by themselves.

use std::{
    fs,
    io::Write as _,
    net::TcpListener,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::child::{command, finished, run};

/// A file that is gone when the test is over.
pub(crate) struct Scratch(std::path::PathBuf);

impl Scratch {
    pub(crate) fn new(content: &[u8]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("scratch-{}-{number}", std::process::id());
        let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, content).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn wrong_configuration_ends_with_2_before_anything_starts() {
    let file = Scratch::new(b"[gateway]\nlisen = \"127.0.0.1:0\"\n");
    let (code, out, err) = run(&["gateway", "--config", file.path()]);
    assert_eq!(code, 2);
    assert_eq!(out, "");
    let expected = "unknown key \"lisen\" in [gateway]; did you mean \"listen\"?";
    assert_eq!(err, format!("error: {}:2:1: {expected}\n", file.path()));
}

#[test]
fn each_wrong_start_says_why() {
    for (args, expected) in [
        (
            &["gateway", "--listen", "8080"][..],
            "error: --listen: gateway.listen: expected an IP address and a port, such as \"127.0.0.1:8080\", found \"8080\"",
        ),
        (
            &["gateway", "--listen", "0.0.0.0:0"],
            "error: --listen: gateway.listen: 0.0.0.0:0 can be reached by strangers",
        ),
        (
            &[
                "receiver",
                "--gateway",
                "127.0.0.1:1",
                "--to",
                "http://127.0.0.1:1",
            ],
            "error: --gateway: receiver.gateways[0]: \"127.0.0.1:1\" is not a gateway address",
        ),
        (
            &["receiver", "--gateway", "ws://127.0.0.1:1"],
            "error: configuration: receiver.to: expected at least one app URL, such as \"http://127.0.0.1:8000\" (--to)",
        ),
        (
            &["dev", "--to", "ftp://127.0.0.1"],
            "error: --to: receiver.to[0]: \"ftp://127.0.0.1\" is not an app",
        ),
        (
            &["gateway", "--set", "gateway.workers=many"],
            "error: --set gateway.workers: gateway.workers: expected a whole number, found string \"many\"",
        ),
        (
            &["demo", "--log-level", "=,="],
            "error: --log-level: log.level: expected error, warn, info, debug, trace or off",
        ),
        (
            &["demo", "--log-level", "warning"],
            "error: --log-level: log.level: expected error, warn, info, debug, trace or off, or with parts of the program such as \"info,anp_tunnel=debug\", found \"warning\"; did you mean \"warn\"?",
        ),
        (
            &["inspect", "/nonexistent"],
            "error: cannot read /nonexistent: ",
        ),
        (
            &["gateway", "--lisen", "x"],
            "error: unexpected argument '--lisen' found",
        ),
    ] {
        let (code, out, err) = run(args);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}: {err}");
        assert!(err.starts_with(expected), "{args:?}: {err}");
    }
}

#[test]
fn what_a_gateway_did_not_take_is_there_and_can_be_gone_on_with() {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("me");
    let out = out.to_str().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let args = [
        "did",
        "new",
        "localhost/me",
        "--publish",
        "--out",
        out,
        "--admin",
        &admin,
    ];
    let (code, _, err) = run(&args);
    assert_eq!(code, 1);
    let on = format!("go on by: anp-proxy did publish {out}/did.json --admin {admin}");
    assert!(
        err.contains(&format!("{out}/did.json and {out}/key.pem are made")),
        "{err}"
    );
    assert!(err.contains(&on), "{err}");
    let (code, _, err) = run(&args);
    assert_eq!(code, 1);
    assert!(
        err.contains("is there already; go on with it by: anp-proxy did publish"),
        "{err}"
    );
}

#[cfg(not(feature = "app"))]
#[test]
fn who_asks_for_a_python_app_is_sent_to_the_package() {
    for command in ["dev", "receiver"] {
        let (code, _, err) = run(&[command, "--app", "main:app"]);
        assert_eq!(code, 2);
        assert!(
            err.contains("The command of the Python package has --app"),
            "{err}"
        );
    }
    let (_, _, err) = run(&["gateway", "--apps"]);
    assert!(!err.contains("Python"), "{err}");
}

#[test]
fn a_taken_port_ends_with_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flag, key) in [("--listen", "listen"), ("--tunnel-listen", "tunnel_listen")] {
        let other = ["--listen", "--tunnel-listen"]
            .into_iter()
            .find(|f| *f != flag);
        let args = ["gateway", "--log-format", "human", flag, &address];
        let (code, out, err) = run(&[&args[..], &[other.unwrap(), "127.0.0.1:0"]].concat());
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        let expected = format!(
            "error: cannot listen on {address} (gateway.{key}, from {flag}): another program listens there; stop it, or choose another address"
        );
        assert_eq!(err.trim_end(), expected);
    }
}

#[test]
fn inspect_tells_by_its_code() {
    for (input, code, line) in [
        // An empty SETTINGS frame of version 2.
        (
            "414e5058 02070000 00000018 b5afaf1c 00000000 00000000",
            0,
            "1 frame, all good",
        ),
        (
            "414e5058 02070000 00000018 b5afaf1d 00000000 00000000",
            1,
            "1 frame, 1 bad",
        ),
        ("", 1, "no frames: the input is empty"),
    ] {
        let mut child = command(&["inspect", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let (found, out, err) = finished(child.wait_with_output().unwrap());
        assert_eq!((found, err.as_str()), (code, ""), "{out}");
        assert_eq!(out.lines().last(), Some(line));
    }
    let text = Scratch::new(b"41 4e 50 5");
    let (code, _, err) = run(&["inspect", text.path()]);
    assert_eq!(code, 2);
    assert!(
        err.contains("line 1: ends in the middle of a byte"),
        "{err}"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    // More than a pipe holds, so that writing meets the closed end.
    let mut input = Vec::new();
    for _ in 0..5000 {
        input.extend_from_slice(b"ANPX\x02\x07\0\0\0\0\0\x18\xb5\xaf\xaf\x1c\0\0\0\0\0\0\0\0");
    }
    let file = Scratch::new(&input);
    let mut child = command(&["inspect", file.path()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_written_is_a_failure_and_no_loss_without_a_word() {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("me");
    let did = [
        "did",
        "new",
        "example.com/me",
        "--out",
        out.to_str().unwrap(),
    ];
    let document = out.join("did.json");
    for args in [
        &["token", "new", "lab"][..],
        &["token", "new", "lab", "--caller"],
        &did,
        &["did", "show", document.to_str().unwrap()],
        &["config", "show"],
        &["config", "check"],
    ] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = command(args).stdout(full).output().unwrap();
        let (code, _, err) = finished(output);
        assert_eq!(code, 1, "{args:?}: {err}");
        let expected = "error: cannot write standard output: No space left on device";
        assert!(err.starts_with(expected), "{args:?}: {err}");
    }
    // Who serves goes on.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut demo = command(&["demo", "--listen", "127.0.0.1:0"])
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = std::io::BufReader::new(demo.stderr.take().unwrap());
    let mut lines = std::io::BufRead::lines(log).map(Result::unwrap);
    assert!(lines.any(|line| line.contains("standard output cannot be written")));
    assert!(demo.try_wait().unwrap().is_none());
    demo.kill().unwrap();
    demo.wait().unwrap();
}

#[test]
fn help_shows_examples_and_exit_codes() {
    let (code, out, _) = run(&["--help"]);
    assert_eq!(code, 0);
    for text in ["anp-proxy demo", "Exit codes:", "--config", "--set"] {
        assert!(out.contains(text), "{text}");
    }
    for command in [
        "gateway", "receiver", "dev", "demo", "inspect", "endpoint", "admin",
    ] {
        let (code, out, _) = run(&[command, "--help"]);
        assert_eq!(code, 0);
        assert!(out.contains("Example"), "{command}");
    }
}

#[test]
fn a_completion_script_is_there_for_each_shell() {
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let (code, script, err) = run(&["completions", shell]);
        assert_eq!((code, err.as_str()), (0, ""), "{shell}");
        for word in ["receiver", "health-path", "tunnel-listen", "completions"] {
            assert!(script.contains(word), "{word} in {shell}");
        }
    }
    let (code, _, err) = run(&["completions", "csh"]);
    assert_eq!(code, 2);
    assert!(err.contains("bash") && err.contains("zsh"), "{err}");
}

#[test]
fn bash_completes_the_flags_of_a_command() {
    let (_, script, _) = run(&["completions", "bash"]);
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("completions");
    fs::write(&file, script).unwrap();
    // As bash calls the function it is told of: the program, the word to complete, the one before.
    let ask = "source \"$0\"; COMP_WORDS=(anp-proxy receiver --he); COMP_CWORD=2; \
               \"$(complete -p anp-proxy | sed 's/.*-F \\([^ ]*\\).*/\\1/')\" anp-proxy --he receiver; \
               printf '%s\\n' \"${COMPREPLY[@]}\"";
    let bash = Command::new("bash").args(["-c", ask]).arg(&file).output();
    let (_, offered, err) = finished(bash.unwrap());
    assert_eq!(offered, "--health-path\n--help\n", "{err}");
}
