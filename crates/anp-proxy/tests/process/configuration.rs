//! What the program makes of its configuration, and of the files that this names.

use std::fs;

use anp_tls::testing::Authority;

use crate::{
    child::{Running, command, finished, run},
    usage::Scratch,
};

#[test]
fn a_file_that_cannot_be_used_ends_the_start_with_2_at_its_place() {
    let missing = "/nonexistent/file";
    let gateway = Scratch::new(
        format!(
            "[gateway]\nlisten = \"127.0.0.1:0\"\ntunnel_listen = \"127.0.0.1:0\"\n\
             tls = {{cert = \"{missing}\", key = \"{missing}\"}}\n\
             [gateway.auth]\npublic_names = [\"a.example\"]\nresolver.documents = [\"{missing}\"]\n\
             replay_store = \"/dev/null/nonces.redb\"\n"
        )
        .as_bytes(),
    );
    let receiver = Scratch::new(
        format!(
            "[receiver]\nto = [\"http://127.0.0.1:9\"]\ngateways = [\"ws://127.0.0.1:9\"]\n\
             ca_file = \"{missing}\"\ndid_document = \"{missing}\"\ndid_key = \"{missing}\"\n"
        )
        .as_bytes(),
    );
    for (command, file, places) in [
        (
            "gateway",
            &gateway,
            &[
                ":4:15: gateway.tls.cert: ",
                ":7:23: gateway.auth.resolver.documents[0]: ",
                ":8:16: gateway.auth.replay_store: ",
            ][..],
        ),
        (
            "receiver",
            &receiver,
            &[
                ":5:16: receiver.did_document: ",
                ":4:11: receiver.ca_file: ",
            ],
        ),
    ] {
        let (code, out, started) = run(&[command, "--config", file.path()]);
        assert_eq!((code, out.as_str()), (2, ""), "{started}");
        let (code, out, checked) = run(&["config", "check", "--config", file.path()]);
        assert_eq!((code, out.as_str()), (1, ""), "{checked}");
        assert_eq!(started, format!("error: {checked}"));
        assert_eq!(checked.lines().count(), places.len(), "{checked}");
        for (line, place) in checked.lines().zip(places) {
            assert!(
                line.starts_with(&format!("{}{place}", file.path())),
                "{line}"
            );
        }
    }
}

#[test]
fn a_store_that_only_the_start_can_judge_is_told_at_its_place() {
    let damaged = Scratch::new(b"no store of nonces");
    let file = Scratch::new(
        format!(
            "[gateway]\nlisten = \"127.0.0.1:0\"\ntunnel_listen = \"127.0.0.1:0\"\nopen = true\n\
             [gateway.auth]\npublic_names = [\"a.example\"]\nreplay_store = \"{}\"\n",
            damaged.path()
        )
        .as_bytes(),
    );
    let state = tempfile::tempdir().unwrap();
    let human = ["--log-format", "human"];
    let mut gateway = command(&[&["gateway", "--config", file.path()], &human[..]].concat());
    let output = gateway.env("STATE_DIRECTORY", state.path()).output();
    let (code, _, err) = finished(output.unwrap());
    assert_eq!(code, 2, "{err}");
    let start = format!(
        "error: {}:7:16: gateway.auth.replay_store: {}: ",
        file.path(),
        damaged.path()
    );
    assert!(err.lines().any(|line| line.starts_with(&start)), "{err}");
}

#[test]
fn a_state_directory_that_can_be_none_ends_the_start() {
    let any = "127.0.0.1:0";
    let args = ["gateway", "--listen", any, "--tunnel-listen", any];
    let auth = [
        "--set",
        "gateway.open=true",
        "--set",
        "gateway.auth.public_names=a.example",
    ];
    let mut gateway = command(&[&args[..], &auth].concat());
    let output = gateway.env("STATE_DIRECTORY", "/dev/null").output();
    let (code, out, err) = finished(output.unwrap());
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    for (key, file) in [("token_key", "tokens.pem"), ("replay_store", "nonces.redb")] {
        let told = format!("gateway.auth.{key}: /dev/null/{file}: ");
        assert!(err.contains(&told), "{err}");
    }
    // What ends the start is what a check finds.
    let admin = ["--set", "gateway.admin_listen=127.0.0.1:9000"];
    let check = [&["config", "check"], &auth[..], &admin].concat();
    let output = command(&check).env("STATE_DIRECTORY", "/dev/null").output();
    let (code, _, err) = finished(output.unwrap());
    assert_eq!(code, 1, "{err}");
    for told in [
        "gateway.auth.token_key: /dev/null/tokens.pem: ",
        "gateway.auth.replay_store: /dev/null/nonces.redb: ",
        "gateway.endpoint_store: /dev/null/endpoints-8080.redb: ",
    ] {
        assert!(err.contains(told), "{err}");
    }
    let state = tempfile::tempdir().unwrap();
    let deeper = state.path().join("deeper");
    let output = command(&check).env("STATE_DIRECTORY", &deeper).output();
    assert_eq!(finished(output.unwrap()).0, 0);
    assert!(!deeper.exists());
}

#[test]
fn a_second_gateway_of_one_user_is_told_which_file_to_name() {
    let state = tempfile::tempdir().unwrap();
    let any = "127.0.0.1:0";
    let args = ["gateway", "--listen", any, "--tunnel-listen", any];
    let names = [
        "--set",
        "gateway.open=true",
        "--set",
        "gateway.auth.public_names=a.example",
    ];
    let gateway = |more: &[&str]| {
        let mut gateway = command(&[&args[..], &names, more].concat());
        gateway.env("STATE_DIRECTORY", state.path());
        gateway
    };
    let first = Running::spawn(&mut gateway(&[]));
    first.says(" → receivers at ");
    let (code, _, err) = finished(gateway(&[]).output().unwrap());
    assert_eq!(code, 2, "{err}");
    for part in [
        "nonces.redb: another process has",
        "set another gateway.auth.replay_store",
    ] {
        assert!(err.contains(part), "{part}: {err}");
    }
    let own = state.path().join("own.redb");
    let own = format!("gateway.auth.replay_store={}", own.display());
    let second = Running::spawn(&mut gateway(&["--set", &own]));
    second.says(" → receivers at ");
}

#[test]
fn the_variable_of_the_file_names_it_or_none() {
    let check = |value: &str| {
        let output = command(&["config", "check"])
            .env("ANP_CONFIG", value)
            .output();
        finished(output.unwrap())
    };
    assert_eq!(check("").0, 0);
    let (code, _, err) = check("/nonexistent");
    assert_eq!(code, 1);
    let expected = "environment variable ANP_CONFIG: cannot read /nonexistent: ";
    assert!(err.starts_with(expected), "{err}");
}

#[test]
fn an_unknown_variable_is_named() {
    let output = command(&["gateway"])
        .env("ANP_GATEWAY__LISEN", "x")
        .output();
    let (code, _, err) = finished(output.unwrap());
    assert_eq!(code, 2);
    assert!(err.starts_with("error: environment variable ANP_GATEWAY__LISEN: unknown key"));
}

#[test]
fn config_check_tells_by_its_code() {
    let good = Scratch::new(b"[gateway]\nlisten = \"127.0.0.1:0\"\n");
    let (code, out, err) = run(&["config", "check", "--config", good.path()]);
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (0, "configuration is valid\n", "")
    );
    let bad = Scratch::new(b"[gateway]\nlisen = 1\nmin_version = 9\nhead_timeout = 30\n");
    let (code, out, err) = run(&["config", "check", "--config", bad.path()]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(err.lines().count(), 2, "{err}");
    let (code, _, err) = run(&["config", "check", "--set", "receiver.tunnels=0"]);
    assert_eq!(code, 1);
    assert!(err.contains("receiver."), "{err}");
}

#[test]
fn certificates_out_of_time_are_warnings_at_their_places() {
    let (cert, key) = Authority::new().expired_pem(&["a.example"]);
    let [cert, key] = [cert, key].map(|text| Scratch::new(text.as_bytes()));
    let (cert, key) = (cert.path(), key.path());
    let text = format!(
        "[gateway]\nallow_world_readable_keys = true\ntls.cert = \"{cert}\"\ntls.key = \"{key}\"\n\
         [receiver]\ngateways = [\"wss://a.example\"]\nto = [\"http://127.0.0.1:9\"]\n\
         allow_world_readable_keys = true\nclient_cert = \"{cert}\"\nclient_key = \"{key}\"\n"
    );
    let file = Scratch::new(text.as_bytes());
    let (code, out, err) = run(&["config", "check", "--config", file.path()]);
    assert_eq!(
        (code, out.as_str()),
        (0, "configuration is valid\n"),
        "{err}"
    );
    let told =
        format!("{cert}: the certificate of a.example expired on Mon, 01 Jan 2001 00:00:00 GMT");
    let places = ["3:12: gateway.tls.cert", "9:15: receiver.client_cert"];
    let lines = places.map(|place| format!("warning: {}:{place}: {told}\n", file.path()));
    assert_eq!(err, lines.concat());
    // Beside what is wrong they are not told.
    let args = [
        "config",
        "check",
        "--config",
        file.path(),
        "--set",
        "receiver.tunnels=0",
    ];
    let (code, _, err) = run(&args);
    assert_eq!(code, 1);
    assert!(!err.contains("warning"), "{err}");
}

#[test]
fn config_show_names_each_origin() {
    let file = Scratch::new(b"[gateway]\nlisten = \"127.0.0.1:1\"\n");
    let (code, out, _) = run(&[
        "config",
        "show",
        "--config",
        file.path(),
        "--log-level",
        "warn",
    ]);
    assert_eq!(code, 0);
    let origin = |key: &str| {
        let line = out
            .lines()
            .find(|line| line.starts_with(&format!("{key} = ")));
        line.unwrap().split_once("  # ").unwrap().1.to_owned()
    };
    assert_eq!(origin("listen"), format!("{}:2:10", file.path()));
    assert_eq!(origin("level"), "--log-level");
    assert_eq!(origin("tunnel_listen"), "default");
}

#[test]
fn config_show_has_what_follows_from_the_defaults() {
    let state = tempfile::tempdir().unwrap();
    let mut command = command(&[
        "config",
        "show",
        "--set",
        "gateway.admin_listen=127.0.0.1:9",
    ]);
    let output = command.env("STATE_DIRECTORY", state.path()).output();
    let (code, out, _) = finished(output.unwrap());
    assert_eq!(code, 0);
    let gateway = out.split("[gateway]\n").nth(1).unwrap();
    let gateway = gateway.split("\n[").next().unwrap();
    let value = |key: &str| {
        let start = format!("{key} = ");
        let line = gateway.lines().find_map(|line| line.strip_prefix(&start));
        let (value, origin) = line.unwrap().split_once("  # ").unwrap();
        assert_eq!(origin, "default", "{key}");
        value.trim().to_owned()
    };
    let place = |name: &str| format!("\"{}\"", state.path().join(name).display());
    assert!(value("workers").parse::<usize>().unwrap() > 0);
    assert_eq!(value("open"), "true");
    assert_eq!(value("control_socket"), place("gateway-8080.sock"));
    assert_eq!(value("endpoint_store"), place("endpoints-8080.redb"));
}

#[test]
fn what_config_show_prints_is_a_configuration_again() {
    for text in [
        "[gateway]\nlisten = \"127.0.0.1:1\"\n",
        "[receiver]\ngateways = [\"ws://127.0.0.1:1\"]\nto = [\"http://127.0.0.1:2\"]\n",
        "[receiver]\ngateways = [\"ws://127.0.0.1:1\"]\n\
         [receiver.apps.a]\nto = [\"http://127.0.0.1:2\"]\n\
         [receiver.apps.b]\nto = [\"http://127.0.0.1:3\"]\ntunnels = 3\n",
    ] {
        let file = Scratch::new(text.as_bytes());
        let (code, shown, err) = run(&["config", "show", "--config", file.path()]);
        assert_eq!(code, 0, "{err}");
        let again = Scratch::new(shown.as_bytes());
        let (code, _, err) = run(&["config", "check", "--config", again.path()]);
        assert_eq!(code, 0, "{err}{shown}");
        let (_, shown_again, _) = run(&["config", "show", "--config", again.path()]);
        let values = |shown: &str| {
            let lines = shown.lines().map(|line| line.split("  # ").next());
            let values: Vec<_> = lines.flatten().map(str::trim_end).collect();
            values.join("\n")
        };
        assert_eq!(values(&shown_again), values(&shown));
    }
}

#[test]
fn every_example_is_valid() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let mut found = 0;
    for entry in fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let (code, _, err) = run(&["config", "check", "--config", path.to_str().unwrap()]);
            // Files that an example names are somebody else's to make, and are looked at last.
            let missing = |line: &str| line.ends_with("No such file or directory (os error 2)");
            assert!(code == 0 || err.lines().all(missing), "{err}");
            found += 1;
        }
    }
    assert!(found > 0);
}
