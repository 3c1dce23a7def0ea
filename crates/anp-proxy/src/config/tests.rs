//! Layers, origins and messages.

use super::*;

fn sources(file: Option<&str>, env: &[(&str, &str)], set: &[&str]) -> Sources {
    Sources {
        file: file.map(|text| File {
            name: "anp.toml".to_owned(),
            origin: Origin::Flag("--config"),
            text: text.to_owned(),
        }),
        environment: env.iter().map(|(n, v)| (n.into(), v.into())).collect(),
        set: set.iter().map(|s| (*s).to_owned()).collect(),
        ..Sources::default()
    }
}

/// What is wrong with a file, each line without the name of the file.
fn wrong(text: &str) -> Vec<String> {
    let problems = match load(sources(Some(text), &[], &[])) {
        Ok(loaded) => loaded.problems(),
        Err(Problems(problems)) => problems,
    };
    let lines = problems.iter().map(Problem::to_string);
    lines.map(|line| line.replace("anp.toml:", "")).collect()
}

#[test]
fn defaults_need_nothing() {
    let loaded = load(Sources::default()).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.problems(), []);
}

#[test]
fn each_layer_overrides_the_ones_before() {
    let file = "[gateway]\nlisten = \"127.0.0.1:1\"\nworkers = 1\ndrain_timeout = \"1s\"\naccess_log = false\n";
    let mut sources = sources(
        Some(file),
        &[
            ("ANP_GATEWAY__WORKERS", "2"),
            ("ANP_GATEWAY__DRAIN_TIMEOUT", "2s"),
            ("ANP_GATEWAY__LISTEN", "127.0.0.1:2"),
            ("ANP_RECEIVER__TO", "http://127.0.0.1:1, http://127.0.0.1:2"),
            ("ANP_RECEIVER__GATEWAYS", "[\"ws://127.0.0.1:3\"]"),
        ],
        &["gateway.drain_timeout=3s", "gateway.listen=127.0.0.1:3"],
    );
    sources.implied = vec![(
        "gateway.access_log",
        Node::text("true", Origin::Command("dev")),
    )];
    sources.flags = vec![(
        "gateway.listen",
        Node::text("127.0.0.1:4", Origin::Flag("--listen")),
    )];
    let loaded = load(sources).unwrap();
    let gateway = &loaded.config.gateway;
    assert_eq!(gateway.listen.port(), 4);
    assert_eq!(gateway.drain_timeout.to_string(), "3s");
    assert_eq!(gateway.workers, Some(2));
    assert!(!gateway.access_log, "what a command implies is weakest");
    assert_eq!(loaded.config.receiver.to.len(), 2);
    assert_eq!(loaded.config.receiver.gateways.len(), 1);
    let origin = |key| loaded.origin("gateway", key).unwrap().to_string();
    assert_eq!(origin("listen"), "--listen");
    assert_eq!(origin("drain_timeout"), "--set gateway.drain_timeout");
    assert!(origin("access_log").ends_with("anp.toml:5:14"));
    assert_eq!(loaded.origin("gateway", "open"), None);
}

#[test]
fn mistakes_name_their_place_and_what_was_expected() {
    for (text, expected) in [
        (
            "[gateway]\nlisten = \"127.0.0.1:1\"\nlisen = 1\n",
            "3:1: unknown key \"lisen\" in [gateway]; did you mean \"listen\"?",
        ),
        (
            "[gatway]\nlisten = \"127.0.0.1:1\"\n",
            "1:2: unknown section or key \"gatway\"; did you mean \"gateway\"?",
        ),
        (
            "[gateway]\nhead_timeout = 30\n",
            "2:16: gateway.head_timeout: expected a duration with its unit, such as \"30s\", found integer 30",
        ),
        (
            "[gateway]\nhead_timeout = \"30 parsecs\"\n",
            "2:16: gateway.head_timeout: \"30 parsecs\" is not a duration: expected a whole number with ms, s, m or h, such as \"30s\"",
        ),
        (
            "[gateway]\nlisten = \"localhost\"\n",
            "2:10: gateway.listen: expected an IP address and a port, such as \"127.0.0.1:8080\", found \"localhost\"",
        ),
        (
            "[gateway]\naccess_log = \"yes\"\n",
            "2:14: gateway.access_log: expected true or false, found string \"yes\"",
        ),
        (
            "[gateway]\nmin_version = 300\n",
            "2:15: gateway.min_version: expected a whole number from 0 to 255, found integer 300",
        ),
        (
            "[gateway]\nworkers = -1\n",
            "2:11: gateway.workers: expected a whole number, found integer -1",
        ),
        (
            "[gateway]\nendpoints = 1\n",
            "2:13: gateway.endpoints: expected a list, found integer 1",
        ),
        (
            "[receiver]\ngateways = \"ws://h\"\n",
            "2:12: receiver.gateways: expected a list, such as [\"ws://h\"], found string \"ws://h\"",
        ),
        (
            "[[gateway.endpoints]]\nname = \"a\"\nreceivers = [\"r\"]\n[[gateway.endpoints]]\nname = \"b\"\n",
            "4:1: gateway.endpoints[1].receivers: must name at least one receiver, or set owner",
        ),
        (
            "[[gateway.endpoints]]\nname = \"a\"\nrecievers = [\"r\"]\n",
            "3:1: unknown key \"recievers\" in [[gateway.endpoints]]; did you mean \"receivers\"?",
        ),
        (
            "[receiver]\nto = [\"http://127.0.0.1:1\",\n  7]\n",
            "3:3: receiver.to[1]: expected an app URL such as \"http://127.0.0.1:8000\", \"h2c://127.0.0.1:50051\" or \"unix:/run/app.sock\", found integer 7",
        ),
        (
            "[log]\nformat = \"jsn\"\n",
            "2:10: log.format: expected one of \"auto\", \"human\", \"json\", found \"jsn\"; did you mean \"json\"?",
        ),
        (
            "[log]\nlevel = \"=,=\"\n",
            "2:9: log.level: expected error, warn, info, debug, trace or off, or with parts of the program such as \"info,anp_tunnel=debug\", found \"=,=\"",
        ),
        (
            "[gateway]\nmax_streams = 4096\n",
            "2:15: gateway.max_streams: 4096 is outside 1 to 1024",
        ),
        (
            "[receiver]\nto = [\"http://127.0.0.1:1\"]\ngateways = [\"ws://127.0.0.1:2\"]\ntunnels = 0\n",
            "4:11: receiver.tunnels: expected 1 to 64, got 0",
        ),
        (
            "[gateway]\n[gateway.auth]\npublic_names = [\"a.example\"]\n[[gateway.auth.tokens]]\nname = \"a\"\nhash = \"sha256:x\"\n",
            "6:8: gateway.auth.tokens[0].hash: expected the hash of a token as \"anp-proxy token new\" prints it: \"sha256:\" and 43 characters",
        ),
        (
            "[gateway]\ncontrol_socket = \"\"\n",
            "2:18: gateway.control_socket: expected the path of a file, found none",
        ),
        (
            "[gateway]\nlisten = \"127.0.0.1:1\"\nadmin_listen = \"127.0.0.1:1\"\n",
            "3:16: gateway.admin_listen: 127.0.0.1:1 is the address of listen already; each needs its own",
        ),
        (
            "[gateway]\nredirect_listen = \"127.0.0.1:1\"\n",
            "2:19: gateway.redirect_listen: callers would be sent on to https, which is not spoken: set tls or acme, or remove this",
        ),
        (
            "[[gateway.endpoints]]\nname = \"a\"\nowner = \"token:lab\"\n",
            "3:9: gateway.endpoints[0].owner: nobody could serve this: receivers prove to be token:lab where there is [gateway.auth]",
        ),
        (
            "[receiver]\nto = [\"http://127.0.0.1:1\"]\ngateways = [\"ws://127.0.0.1:2\"]\nmax_reconnect_delay = \"1ms\"\n",
            "4:23: receiver.max_reconnect_delay: expected at least reconnect_delay (1s), got 1ms",
        ),
        (
            "[receiver]\nto = [\"http://127.0.0.1:1\"]\ngateways = [\"ws://127.0.0.1:2\"]\nca_file = \"/nonexistent/ca\"\ntoken_file = \"/\"\n",
            "5:14: receiver.token_file: /: is a directory\n4:11: receiver.ca_file: /nonexistent/ca: cannot be read: No such file or directory (os error 2)",
        ),
        (
            "[gateway]\ntls = {cert = \"/nonexistent/a\", key = \"/nonexistent/b\"}\nendpoint_store = \"/dev/null/x\"\n",
            "2:15: gateway.tls.cert: /nonexistent/a: cannot be read: No such file or directory (os error 2)\n3:18: gateway.endpoint_store: /dev/null/x: Not a directory (os error 20)",
        ),
        ("listen = 1\n[gateway", "2:9: unclosed table, expected `]`"),
    ] {
        assert_eq!(wrong(text).join("\n"), expected);
    }
}

#[test]
fn all_mistakes_are_shown_at_once() {
    let text =
        "[gateway]\nlisen = 1\nhead_timeout = 30\n[receiver]\nname = 1\n[log]\nlevel = true\n";
    assert_eq!(wrong(text).len(), 4);
}

#[test]
fn a_bad_url_names_its_place() {
    let lines = wrong("[receiver]\nto = [\"ftp://127.0.0.1\"]\n");
    assert!(
        lines[0].starts_with("2:7: receiver.to[0]: \"ftp://127.0.0.1\" is not"),
        "{lines:?}"
    );
}

#[test]
fn the_environment_and_set_are_named_too() {
    let sources = sources(
        None,
        &[("ANP_GATEWAY__LISEN", "x"), ("ANP_GATEWAY__WORKERS", "two")],
        &["receiver.tunnels=70000"],
    );
    let problems = load(sources).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "environment variable ANP_GATEWAY__LISEN: unknown key \"lisen\" in [gateway]; did you mean \"listen\"?\n\
         environment variable ANP_GATEWAY__WORKERS: gateway.workers: expected a whole number, found string \"two\"\n\
         --set receiver.tunnels: receiver.tunnels: expected a whole number from 0 to 65535, found integer 70000"
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let problem =
        File::read(Path::new("/nonexistent/anp.toml"), Origin::Flag("--config")).unwrap_err();
    let text = problem.to_string();
    assert!(
        text.starts_with("--config: cannot read /nonexistent/anp.toml: "),
        "{text}"
    );
}

#[test]
fn a_file_that_is_no_text_names_the_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("anp.toml");
    fs::write(&path, b"[gateway]\n# \xc3\xbc caf\xe9\n").unwrap();
    let problem = File::read(&path, Origin::Flag("--config")).unwrap_err();
    assert_eq!(
        problem.to_string(),
        format!("{}:2:8: expected UTF-8, found another byte", path.display())
    );
}

#[test]
fn what_is_shown_can_be_read_back() {
    let file = "[[gateway.endpoints]]\nname = \"a\"\npath = \"/a\"\nreceivers = [\"r\"]\n[receiver]\ngateways = [\"ws://127.0.0.1:3\"]\n";
    let loaded = load(sources(Some(file), &[("ANP_LOG", "debug")], &[])).unwrap();
    let shown = loaded.show().unwrap();
    let line = |start: &str| {
        let line = shown.lines().find(|line| line.starts_with(start));
        line.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    assert_eq!(
        line("listen").unwrap(),
        "listen = \"127.0.0.1:8080\" # default"
    );
    assert_eq!(
        line("level").unwrap(),
        "level = \"debug\" # environment variable ANP_LOG"
    );
    assert!(
        line("endpoints").unwrap().ends_with("# anp.toml:1:1"),
        "{shown}"
    );
    let again = load(sources(Some(&shown), &[], &[])).unwrap();
    assert_eq!(again.config, loaded.config);
}

#[test]
fn elements_of_a_list_keep_their_numbers_and_a_token_is_not_shown() {
    let text = "[gateway]\ntrusted_proxies = [\"x\", \"10.0.0.0/8\", \"y\"]\n\
                [gateway.auth]\npublic_names = [\"a\"]\ntokens = [\"anp_secret\"]\n";
    let lines = wrong(text);
    let says = |text: &str| lines.iter().any(|line| line.contains(text));
    assert!(
        says("trusted_proxies[0]") && says("trusted_proxies[2]"),
        "{lines:?}"
    );
    assert!(
        says("tokens[0]: expected a table, found a token"),
        "{lines:?}"
    );
}

#[test]
fn what_is_shown_names_the_origin_of_each_key_of_a_table() {
    let file = "[gateway.auth]\npublic_names = [\"a.example\"]\n";
    let env = [("ANP_GATEWAY__AUTH__TOKEN_LIFETIME", "3h")];
    let shown = load(sources(Some(file), &env, &[]))
        .unwrap()
        .show()
        .unwrap();
    for (line, origin) in [
        ("auth.public_names = [\"a.example\"]", "anp.toml:2:16"),
        (
            "auth.token_lifetime = \"3h\"",
            "environment variable ANP_GATEWAY__AUTH__TOKEN_LIFETIME",
        ),
        ("auth.required = true", "default"),
    ] {
        let shown = shown.lines().find(|shown| shown.starts_with(line));
        assert!(
            shown.is_some_and(|l| l.ends_with(&format!("# {origin}"))),
            "{line}: {shown:?}"
        );
    }
}

/// Two apps beside a gateway, the second with further `keys`.
fn two_apps(keys: &str) -> String {
    format!(
        "[receiver]\ngateways = [\"wss://gate.example\"]\ntunnels = 3\n\
         [receiver.apps.chat]\nto = [\"http://127.0.0.1:1\"]\n\
         [receiver.apps.files]\nto = [\"http://127.0.0.1:2\"]\n{keys}"
    )
}

#[test]
fn an_app_has_what_it_does_not_set_from_the_receiver() {
    let text = two_apps("tunnels = 1\nname = \"depot\"\n");
    let env = [
        ("ANP_RECEIVER__APPS__CHAT__DRAIN_TIMEOUT", "1s"),
        (
            "ANP_RECEIVER__APPS__MORE",
            "{to = [\"http://127.0.0.1:3\"], workers = 2}",
        ),
    ];
    let loaded = load(sources(Some(&text), &env, &[])).unwrap();
    assert_eq!(loaded.problems(), []);
    let receivers = loaded.receivers();
    let of = |name: &str| {
        let named = |c: &&ReceiverConfig| c.name.as_deref() == Some(name);
        let found = receivers.iter().find(named).unwrap();
        (
            found.tunnels,
            found.workers,
            found.drain_timeout.to_string(),
        )
    };
    assert_eq!(of("chat"), (3, 1, "1s".to_owned()));
    assert_eq!(of("depot"), (1, 1, "30s".to_owned()));
    assert_eq!(of("more"), (3, 2, "30s".to_owned()));
    let shown = loaded.show().unwrap();
    let (_, chat) = shown.split_once("[receiver.apps.chat]\n").unwrap();
    let (chat, _) = chat.split_once("\n\n").unwrap();
    let lines: Vec<_> = chat
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        lines,
        [
            "to = [\"http://127.0.0.1:1\"] # anp.toml:5:6",
            "name = \"chat\" # anp.toml:4:16",
            "drain_timeout = \"1s\" # environment variable ANP_RECEIVER__APPS__CHAT__DRAIN_TIMEOUT",
        ]
    );
    // What is shown can be read back.
    let again = load(sources(Some(&shown), &[], &[])).unwrap();
    assert_eq!(again.receivers(), receivers);
}

#[test]
fn an_app_with_an_identity_of_its_own_has_not_that_of_the_receiver() {
    let text = two_apps("token = \"anp_own\"\n");
    let text = text.replace(
        "tunnels = 3",
        "token_file = \"/nonexistent\"\nresolve = {\"a.example\" = [\"192.0.2.1\"]}",
    );
    let text = text + "resolve = {\"b.example\" = [\"192.0.2.2\"]}\n";
    let loaded = load(sources(Some(&text), &[], &[])).unwrap();
    let [chat, files] = loaded.receivers().try_into().unwrap();
    assert!(chat.token_file.is_some() && chat.token.is_none());
    assert!(files.token_file.is_none() && files.token.is_some());
    assert_eq!((chat.resolve.len(), files.resolve.len()), (1, 2));
    // Each key of a table that is of both has the place where it was written.
    let shown = loaded.show().unwrap();
    let (_, files) = shown.split_once("[receiver.apps.files]").unwrap();
    for (name, place) in [("a", "anp.toml:4:26"), ("b", "anp.toml:10:26")] {
        let line = files
            .lines()
            .find(|line| line.contains(&format!("\"{name}.example\"")));
        assert!(line.is_some_and(|line| line.ends_with(place)), "{files}");
    }
}

#[test]
fn a_mistake_of_an_app_is_named_where_it_was_written() {
    for (keys, expected) in [
        (
            "tunels = 1\n",
            "8:1: unknown key \"tunels\" in [receiver.apps.files]; did you mean \"tunnels\"?",
        ),
        (
            "tunnels = \"x\"\n",
            "8:11: receiver.apps.files.tunnels: expected a whole number from 0 to 65535, found string \"x\"",
        ),
        (
            "tunnels = 0\n",
            "8:11: receiver.apps.files.tunnels: expected 1 to 64, got 0",
        ),
        (
            "name = \"chat\"\n",
            "8:8: receiver.apps.files.name: expected another name than that of app \"chat\"",
        ),
        (
            "token_file = \"/nonexistent\"\n",
            "8:14: receiver.apps.files.token_file: /nonexistent: No such file or directory (os error 2)",
        ),
        (
            "status_listen = \"127.0.0.1:0\"\n",
            "8:17: receiver.apps.files.status_listen: expected in [receiver]: it is for all apps of the process",
        ),
        (
            "[receiver.apps.more]\n",
            "8:1: receiver.apps.more.to: expected at least one app URL, such as \"http://127.0.0.1:8000\"",
        ),
        (
            "[receiver.apps]\nmore = 1\n",
            "9:8: receiver.apps.more: expected a table, found integer 1",
        ),
    ] {
        assert_eq!(wrong(&two_apps(keys)), [expected], "{keys}");
    }
    assert_eq!(
        wrong(&two_apps("").replace("tunnels = 3", "tunnels = 0")),
        ["3:11: receiver.tunnels: expected 1 to 64, got 0"]
    );
    assert_eq!(
        wrong(&two_apps("").replace("tunnels = 3", "to = [\"http://127.0.0.1:9\"]")),
        ["3:6: receiver.to: expected in the table of each app, since [receiver.apps] has some"]
    );
}

#[test]
fn apps_of_one_identity_share_no_endpoint() {
    let text = |chat: &str, files: &str| {
        let text = two_apps(files).replace("tunnels = 3", "token = \"anp_x\"");
        text.replace(
            "[receiver.apps.files]",
            &format!("{chat}[receiver.apps.files]"),
        )
    };
    let chat = "endpoints = [\"/chat\"]\n";
    assert_eq!(wrong(&text(chat, "endpoints = [\"/files\"]\n")), [""; 0]);
    assert_eq!(
        wrong(&text(chat, "")),
        [
            "7:1: receiver.apps.files.endpoints: expected the endpoints of this app, such as [\"/files\"]: app \"chat\" comes to the same gateway with the same identity"
        ]
    );
    assert_eq!(
        wrong(&text("", chat)),
        [
            "4:1: receiver.apps.chat.endpoints: expected the endpoints of this app, such as [\"/chat\"]: app \"files\" comes to the same gateway with the same identity"
        ]
    );
    assert_eq!(
        wrong(&text(chat, "endpoints = [\"/files\", \"/chat/\"]\n")),
        ["9:13: receiver.apps.files.endpoints: \"/chat/\" is served by app \"chat\""]
    );
    // Hosts are compared as gateways do, and tokens wherever they stand.
    let hosts = [
        "endpoints = [\"A.example/x\"]\n",
        "endpoints = [\"a.example/x/\"]\n",
    ];
    assert_eq!(
        wrong(&text(hosts[0], hosts[1])),
        ["9:13: receiver.apps.files.endpoints: \"a.example/x/\" is served by app \"chat\""]
    );
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    anp_tls::testing::put(&file, "anp_x\n");
    let same = format!("token_file = \"{}\"\n", file.display());
    let lines = wrong(&text("", &same));
    assert!(lines[0].contains("with the same identity"), "{lines:?}");
    // Elsewhere, or as somebody else, they are not taken for each other.
    assert_eq!(
        wrong(&text("", "gateways = [\"wss://other.example\"]\n")),
        [""; 0]
    );
    assert_eq!(wrong(&two_apps("token = \"anp_y\"\n")), [""; 0]);
}
