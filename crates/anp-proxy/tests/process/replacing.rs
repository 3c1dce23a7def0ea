//! A gateway in place of another, with other settings than that had.

use std::{net::SocketAddr, path::Path};

use tempfile::tempdir;

use crate::{
    child::{Running, command},
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
