//! A gateway in place of another, with other settings than that had.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
};

use anp_tls::testing::Authority;
use tempfile::tempdir;

use crate::{
    child::{Running, command, finished, limited},
    serving::get,
};

/// A gateway with state of its own.
fn start(state: &Path, args: &[&str]) -> Running {
    Running::spawn(command(&[&["gateway"], args].concat()).env("STATE_DIRECTORY", state))
}

/// Where it says that callers and receivers connect.
fn addresses(gateway: &Running) -> [SocketAddr; 2] {
    let line = gateway.says(" → receivers at ws://");
    let (public, tunnel) = line.split_once(" → receivers at ws://").unwrap();
    let public = public.replace("localhost", "0.0.0.0");
    let public = public.strip_prefix("http://").unwrap();
    [public.parse().unwrap(), tunnel.parse().unwrap()]
}

#[test]
fn a_gateway_at_wider_and_narrower_addresses_takes_over() {
    let state = tempdir().unwrap();
    let control = state.path().join("control.sock");
    let control = format!("gateway.control_socket={}", control.display());
    let run = |[public, tunnel]: [SocketAddr; 2], workers: &str| {
        let (public, tunnel) = (public.to_string(), tunnel.to_string());
        let settings = [
            &control[..],
            "gateway.open=true",
            "gateway.allow_public_without_authentication=true",
            "gateway.plain_tunnels=true",
            "gateway.health_path=/-/healthz",
            workers,
        ];
        let mut args = vec!["--replace", "--listen", &public, "--tunnel-listen", &tunnel];
        args.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        start(state.path(), &args)
    };
    for workers in ["gateway.workers=1", "gateway.workers=3"] {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut running = run([any, any], workers);
        let narrow = addresses(&running);
        let wide = narrow.map(|address| SocketAddr::from(([0, 0, 0, 0], address.port())));
        for at in [wide, narrow] {
            let next = run(at, workers);
            next.logs("took over the listeners");
            assert_eq!(addresses(&next), at);
            assert_eq!(running.ends(), 0);
            running = next;
            let ready = get(&narrow[0].to_string(), "/-/healthz");
            assert!(ready.ends_with("ready\n"), "{ready}");
        }
    }
}

#[test]
fn the_gateway_to_replace_is_named_where_it_has_another_control_socket() {
    let state = tempdir().unwrap();
    let control = |port: u8| state.path().join(format!("gateway-{port}.sock"));
    let run = |[public, tunnel]: [&str; 2], port, replace: &[&str]| {
        let control = format!("gateway.control_socket={}", control(port).display());
        let args = [
            "--listen",
            public,
            "--tunnel-listen",
            tunnel,
            "--set",
            &control,
        ];
        start(state.path(), &[&args[..], replace].concat())
    };
    let any = "127.0.0.1:0";
    let mut first = run([any, any], 1, &[]);
    let [public, tunnel] = addresses(&first).map(|address| address.to_string());
    let (before, after) = (control(1), control(2));
    let socket = before.to_str().unwrap();
    let mut lost = run([any, &tunnel], 2, &["--replace"]);
    let told = lost.logs("gateways with other control sockets run");
    assert!(told.contains("WARN") && told.contains(socket), "{told}");
    let (code, lines) = lost.ends_saying();
    let error = lines.last().unwrap();
    assert_eq!(code, 1, "{error}");
    for part in ["another program listens there", socket, "--replace=SOCKET"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let next = run([&public, &tunnel], 2, &[&format!("--replace={socket}")]);
    next.logs("took over the listeners");
    let (code, lines) = first.ends_saying();
    // Whoever only looked whether it runs is no news.
    let news = |line: &&String| line.contains("were not taken over");
    assert_eq!((code, lines.iter().find(news)), (0, None));
    assert!(after.exists() && !before.exists());
}

/// The head of the answer to a request that comes by plain HTTP.
fn sent_on(at: &str) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    let request = b"GET /x HTTP/1.1\r\nHost: gate.example\r\nConnection: close\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_redirect_listener_is_handed_over_given_up_and_opened() {
    let state = tempdir().unwrap();
    let authority = Authority::new();
    let files = authority.issue("gate", &["gate.example"]);
    let control = state.path().join("control.sock");
    let settings = [
        format!("gateway.control_socket={}", control.display()),
        format!("gateway.tls.cert={}", files.cert.display()),
        format!("gateway.tls.key={}", files.key.display()),
        "gateway.listen=127.0.0.1:0".to_owned(),
        "gateway.tunnel_listen=127.0.0.1:0".to_owned(),
        "gateway.public_url=https://gate.example".to_owned(),
    ];
    let run = |redirect: Option<&str>| {
        let redirect = redirect.map(|at| format!("gateway.redirect_listen={at}"));
        let settings = settings.iter().chain(&redirect);
        let settings = settings.flat_map(|setting| ["--set", setting]);
        let args: Vec<_> = ["--replace", "--log-format", "json"]
            .into_iter()
            .chain(settings)
            .collect();
        start(state.path(), &args)
    };
    let opened = |gateway: &Running| {
        let line = gateway.logs("\"listener\":\"redirect\"");
        let at = line.split("\"address\":\"").nth(1).unwrap();
        at.split('"').next().unwrap().to_owned()
    };
    let mut running = run(Some("127.0.0.1:0"));
    let mut at = opened(&running);
    let first = at.clone();
    for redirect in [Some(&*first), None, Some("127.0.0.1:0")] {
        let next = run(redirect);
        if redirect.is_some() {
            at = opened(&next);
        }
        next.logs("took over the listeners");
        assert_eq!(running.ends(), 0);
        running = next;
        if redirect.is_some() {
            let answer = sent_on(&at);
            assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
            assert!(
                answer.contains("location: https://gate.example/x\r\n"),
                "{answer}"
            );
        } else {
            assert_eq!(at, first);
            assert!(TcpStream::connect(&at).is_err());
        }
    }
}

#[test]
fn a_gateway_that_is_named_must_be_there() {
    let state = tempdir().unwrap();
    let named = state.path().join("none.sock");
    let replace = format!("--replace={}", named.display());
    let args = [
        "gateway",
        "--listen",
        "127.0.0.1:0",
        "--tunnel-listen",
        "127.0.0.1:0",
        &replace,
    ];
    let ended = command(&args).env("STATE_DIRECTORY", state.path()).output();
    let (code, _, error) = finished(ended.unwrap());
    assert_eq!(code, 2, "{error}");
    let expected = format!("--replace: no gateway answers at {}", named.display());
    assert!(error.contains(&expected), "{error}");
}

#[test]
fn a_gateway_without_descriptors_is_replaced_once_it_has_some() {
    let state = tempdir().unwrap();
    let control = state.path().join("control.sock");
    let control = format!("gateway.control_socket={}", control.display());
    let any = "127.0.0.1:0";
    let args = ["gateway", "--listen", any, "--tunnel-listen", any];
    let mut few = limited("-n 40", &[&args[..], &["--set", &control]].concat());
    few.env("STATE_DIRECTORY", state.path());
    let mut first = Running::spawn(&mut few);
    let [public, tunnel] = addresses(&first);
    let callers: Vec<_> = (0..60)
        .map(|_| TcpStream::connect(public).unwrap())
        .collect();
    first.logs("connections cannot be taken");
    let (public, tunnel) = (public.to_string(), tunnel.to_string());
    let args = ["--listen", &public, "--tunnel-listen", &tunnel];
    let next = start(
        state.path(),
        &[&args[..], &["--replace", "--set", &control]].concat(),
    );
    first.logs("this gateway cannot be replaced now");
    drop(callers);
    next.logs("took over the listeners");
    assert_eq!(first.ends(), 0);
}
