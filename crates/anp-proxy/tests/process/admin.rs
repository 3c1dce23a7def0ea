//! `admin` and `endpoint` against a gateway that runs.

use std::{fs, net::TcpListener, path::Path};

use crate::child::{Running, command, finished, run};

/// A gateway whose registry is in `directory`, and where its admin listener is.
fn start(directory: &Path, more: &[&str]) -> (Running, String) {
    let store = format!(
        "gateway.endpoint_store={}",
        directory.join("endpoints.redb").display()
    );
    let any = "127.0.0.1:0";
    let addresses = ["--listen", any, "--tunnel-listen", any];
    let gateway = Running::start(
        &[
            &["gateway", "--log-format", "json", "--set", &store],
            &addresses[..],
            more,
        ]
        .concat(),
    );
    gateway.logs("read the registry of endpoints");
    let line = gateway.logs("\"listener\":\"admin\"");
    let address = line.split("\"address\":\"").nth(1).unwrap();
    let url = format!("http://{}", address.split('"').next().unwrap());
    (gateway, url)
}

/// Exit code, standard output and standard error of a command for the gateway at `url`.
fn ask(url: &str, line: &str) -> (i32, String, String) {
    let args: Vec<_> = line.split_whitespace().chain(["--admin", url]).collect();
    run(&args)
}

/// The words of each line.
fn words(text: &str) -> Vec<Vec<&str>> {
    text.lines()
        .map(|line| line.split_whitespace().collect())
        .collect()
}

fn said(url: &str, line: &str) -> String {
    let (code, out, err) = ask(url, line);
    assert_eq!((code, err.as_str()), (0, ""), "{line}");
    out
}

#[test]
fn endpoints_by_the_command_line() {
    let directory = tempfile::tempdir().unwrap();
    let (gateway, url) = start(directory.path(), &["--admin-listen", "127.0.0.1:0"]);
    let out = said(
        &url,
        "endpoint add lab --path /lab --receiver r --max-requests 9 --strip-prefix",
    );
    assert_eq!(out, "lab: */lab → r\n");
    said(
        &url,
        "endpoint add did --host a.example --owner did:wba:a.example --receiver t --setting max_body_size=10",
    );
    // Without [gateway.auth] nobody can prove to be the owner of a token.
    let (code, _, err) = ask(&url, "endpoint add token --path /t --owner token:lab");
    assert_eq!(code, 1);
    assert!(
        err.starts_with("error: owner: nobody could serve this"),
        "{err}"
    );
    let out = said(
        &url,
        "endpoint change lab --receiver r --receiver s --unset max_requests",
    );
    assert_eq!(out, "lab: */lab → r,s\n");
    let (_, out, _) = run(&["token", "new", "ann", "--caller"]);
    let user = out.split("--caller-basic ").nth(1).unwrap().trim();
    let rule = format!("--caller-basic {user} --caller-network ::1");
    said(&url, &format!("endpoint change lab {rule}"));
    said(
        &url,
        "endpoint change lab --caller-network 10.0.0.0/8 --caller-network 10.0.0.7",
    );
    let json: serde_json::Value =
        serde_json::from_str(&said(&url, "endpoint show lab --json")).unwrap();
    let (name, hash) = user.split_once('=').unwrap();
    assert_eq!(
        json["settings"]["callers"],
        serde_json::json!({
            "basic": [{"name": name, "hash": hash}],
            "networks": ["10.0.0.0/8", "10.0.0.7/32"],
        })
    );
    said(&url, "endpoint change lab --unset callers");
    assert!(!said(&url, "endpoint show lab").contains("callers"));
    let list = said(&url, "endpoint list");
    assert_eq!(
        words(&list),
        [
            vec!["NAME", "PLACE", "OWNERS", "SOURCE", "TUNNELS", "REQUESTS"],
            vec![
                "did",
                "a.example/",
                "did:wba:a.example,t",
                "registry",
                "0",
                "0"
            ],
            vec!["lab", "*/lab", "r,s", "registry", "0", "0"],
            vec!["open", "*/", "anyone", "config", "0", "0"],
        ]
    );
    let shown = said(&url, "endpoint show lab");
    assert!(
        words(&shown).contains(&vec!["path", "/lab"]) && !shown.contains("max_requests"),
        "{shown}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&said(&url, "endpoint show did --json")).unwrap();
    assert_eq!(json["settings"]["max_body_size"], "10B");
    let json: serde_json::Value =
        serde_json::from_str(&said(&url, "endpoint list --json")).unwrap();
    assert_eq!(json["endpoints"].as_array().unwrap().len(), 3);

    for (line, text) in [
        (
            "endpoint add x --path /lab --receiver r",
            "error: endpoint \"lab\" of the registry has",
        ),
        ("endpoint add x", "error: receivers: must name"),
        (
            "endpoint add x --receiver r --setting y=1",
            "error: unknown field `y`",
        ),
        (
            "endpoint add x --receiver r --caller-did domain:a.example",
            "error: callers.dids: nothing says how identities are proven",
        ),
        ("endpoint show x", "error: there is no endpoint \"x\""),
        (
            "endpoint remove open",
            "error: endpoint \"open\" is of the configuration",
        ),
        ("admin close t1", "error: no tunnel \"t1\" is connected"),
    ] {
        let (code, out, err) = ask(&url, line);
        assert_eq!((code, out.as_str()), (1, ""), "{line}: {err}");
        assert!(err.starts_with(text), "{line}: {err}");
    }
    for line in [
        "endpoint add x --receiver r --setting y",
        "endpoint add x --receiver r --caller-basic ann",
        "endpoint change lab --unset max_requests",
        "endpoint show a/b",
        "admin close t/1",
    ] {
        let (code, _, err) = ask(&url, line);
        assert_eq!(code, 2, "{line}: {err}");
    }

    assert_eq!(said(&url, "admin tunnels"), "no tunnel is connected\n");
    assert!(
        said(&url, "admin stats")
            .contains("1 configured, 2 of the registry, 0 of DIDs, 0 left out")
    );
    assert_eq!(
        said(&url, "admin reload"),
        "nothing of [gateway] has changed\n"
    );
    let config = said(&url, "admin config");
    assert!(
        config.starts_with("[gateway]\n") && config.contains("endpoint_store = "),
        "{config}"
    );
    assert_eq!(said(&url, "endpoint remove lab"), "lab is removed\n");
    gateway.signal("KILL");
    drop(gateway);
    let (_gateway, url) = start(directory.path(), &["--admin-listen", "127.0.0.1:0"]);
    assert!(said(&url, "endpoint list").contains("did:wba:a.example"));
}

#[test]
fn changes_at_the_same_time_are_all_made_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (_gateway, url) = start(directory.path(), &["--admin-listen", "127.0.0.1:0"]);
    said(&url, "endpoint add lab --path /lab --receiver r");
    let keys = ["response_timeout", "idle_timeout", "sse_keepalive"];
    let times = |key: &str| {
        for seconds in 1..=5 {
            let line = format!("endpoint change lab --setting {key}={seconds}s");
            let (mut code, mut err) = (1, String::new());
            while code == 1 {
                assert!(err.is_empty() || err.contains("look again"), "{err}");
                (code, _, err) = ask(&url, &line);
            }
            assert_eq!(code, 0, "{err}");
        }
    };
    std::thread::scope(|scope| {
        for key in keys {
            scope.spawn(move || times(key));
        }
    });
    let shown = said(&url, "endpoint show lab");
    for key in keys {
        assert!(words(&shown).contains(&vec![key, "5s"]), "{shown}");
    }
}

#[test]
fn the_gateway_that_replaces_another_has_its_endpoints() {
    let directory = tempfile::tempdir().unwrap();
    let control = directory.path().join("control.sock");
    let control = format!("gateway.control_socket={}", control.display());
    let more = ["--admin-listen", "127.0.0.1:0", "--set", &control];
    let (mut first, url) = start(directory.path(), &more);
    said(&url, "endpoint add before --path /before --receiver r");
    let (second, same) = start(directory.path(), &[&more[..], &["--replace"]].concat());
    assert_eq!(url, same);
    second.logs("the registry of endpoints was read again");
    assert_eq!(first.ends(), 0);
    said(&url, "endpoint add after --path /after --receiver r");
    let list = said(&url, "endpoint list");
    assert!(
        list.contains("*/before") && list.contains("*/after"),
        "{list}"
    );
}

#[cfg(unix)]
#[test]
fn the_token_comes_from_a_file_that_nobody_else_reads() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    fs::write(&token, "a-token-of-this-test\n").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let file = token.to_str().unwrap();
    let setting = format!("gateway.admin_token_file={file}");
    let (_gateway, url) = start(
        directory.path(),
        &["--admin-listen", "127.0.0.1:0", "--set", &setting],
    );
    let (code, _, err) = ask(&url, "admin stats");
    assert_eq!(code, 1);
    assert!(err.contains("--admin-token-file"), "{err}");
    assert!(said(&url, &format!("admin stats --admin-token-file {file}")).contains("serving"));
    let output = command(&["admin", "stats"])
        .env("ANP_ADMIN", &url)
        .env("ANP_ADMIN_TOKEN_FILE", file)
        .output();
    assert_eq!(finished(output.unwrap()).0, 0);
    // Where the configuration says where, it also says the token.
    let at = format!(
        "gateway.admin_listen={}",
        url.strip_prefix("http://").unwrap()
    );
    let (code, _, err) = run(&["admin", "stats", "--set", &at, "--set", &setting]);
    assert_eq!((code, err.as_str()), (0, ""));

    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, _, err) = ask(&url, &format!("admin stats --admin-token-file {file}"));
    assert_eq!(code, 2);
    assert!(err.contains("chmod 600"), "{err}");
    let (code, _, err) = run(&["gateway", "--set", &setting]);
    assert_eq!(code, 2);
    assert!(
        err.contains("gateway.admin_token_file: others may read"),
        "{err}"
    );
}

#[test]
fn where_nobody_is_the_way_to_start_one_is_told() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (code, out, err) = ask(&format!("http://{free}"), "endpoint list");
    assert_eq!((code, out.as_str()), (1, ""));
    let expected =
        format!("error: nothing listens at http://{free}: start the gateway with --admin-listen");
    assert!(err.starts_with(&expected), "{err}");
    let (code, _, err) = ask("https://gate.example", "endpoint list");
    assert_eq!(code, 2, "{err}");
    let (code, _, err) = run(&["gateway", "--admin-listen", "0.0.0.0:0"]);
    assert_eq!(code, 2);
    assert!(err.contains("set admin_token_file"), "{err}");
    let token = "gateway.admin_token=a-token-of-this-test";
    let (code, _, err) = run(&["gateway", "--admin-listen", "0.0.0.0:0", "--set", token]);
    assert_eq!(code, 2);
    assert!(err.contains("allow_plain_admin = true"), "{err}");
}

#[test]
fn a_receiver_tells_why_its_tunnel_was_closed() {
    let any = "127.0.0.1:0";
    let addresses = [
        "--listen",
        any,
        "--tunnel-listen",
        any,
        "--admin-listen",
        any,
    ];
    let args = [&["gateway", "--log-format", "json"], &addresses[..]].concat();
    let gateway = Running::start(&args);
    let lines = gateway.logs_up_to("\"listener\":\"admin\"");
    let address = |listener: &str| {
        let line = lines.iter().find(|line| line.contains(listener)).unwrap();
        let address = line.split("\"address\":\"").nth(1).unwrap();
        address.split('"').next().unwrap().to_owned()
    };
    let tunnels = format!("ws://{}", address("\"tunnel\""));
    let url = format!("http://{}", address("\"admin\""));
    let one = ["--set", "receiver.tunnels=1", "--to", "http://127.0.0.1:9"];
    let receiver = Running::start(&[&["receiver", "--gateway", &tunnels], &one[..]].concat());
    for (id, line, why) in [
        ("t1", "admin close t1 --now", "closed by the operator"),
        ("t2", "admin close t2 --now --reason moved", "moved"),
    ] {
        receiver.logs("tunnel ready");
        gateway.logs(&format!("\"tunnel\":\"{id}\""));
        said(&url, line);
        receiver.logs(&format!(
            "the gateway closed the tunnel: {why} (close 1001); "
        ));
    }
    receiver.logs("tunnel ready");
}
