//! Documents over real HTTPS on loopback: what is followed, read and connected to, and what is not
//! (rows 5, 6 and 7 of the threats).
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod support;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anp_auth::{
    Did, DocumentError, KeyKind,
    resolver::{HttpsResolver, Place, ResolveError, Resolver, ResolverConfig, Step},
};
use support::{Answer, Authority, Scripted, Server, config, identity, resolver};

const LOOPBACK: &[&[&str]] = &[&["127.0.0.1"]];

/// A server, and a resolver that may reach it.
async fn both() -> (Authority, Server, HttpsResolver) {
    let authority = Authority::new();
    let server = Server::start(&authority).await;
    let resolver = resolver(&config(&authority, &server), Scripted::new(LOOPBACK));
    (authority, server, resolver)
}

fn did(server: &Server, path: &str) -> Did {
    let port = server.address.port();
    format!("did:wba:did.test%3A{port}:{path}").parse().unwrap()
}

#[tokio::test]
async fn a_document_is_fetched_once_however_many_ask() {
    let (_authority, server, resolver) = both().await;
    let identity = identity(&server, "alice", KeyKind::Ed25519);
    let body = identity.document.to_string();
    let Answer::Bytes(bytes) = Answer::ok("", body.as_bytes()) else {
        unreachable!()
    };
    let barrier = Arc::new(tokio::sync::Barrier::new(2));
    server.answer(
        &identity.did.document_path(),
        Answer::After(barrier.clone(), bytes),
    );
    let resolver = Arc::new(resolver);
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (resolver, did) = (resolver.clone(), identity.did.clone());
        tries.spawn(async move { resolver.resolve(&did).await.is_ok() });
    }
    barrier.wait().await;
    assert!(tries.join_all().await.into_iter().all(|found| found));
    assert!(resolver.resolve(&identity.did).await.is_ok());
    assert_eq!(server.request_count(), 1);
    let request = server.requests.lock().unwrap()[0].to_lowercase();
    assert!(
        request.contains("\r\naccept-encoding: identity\r\n"),
        "{request}"
    );
    let host = format!("\r\nhost: {}\r\n", identity.did.authority());
    assert!(request.contains(&host), "{request}");
}

#[tokio::test]
async fn a_failure_is_remembered_too() {
    let (_authority, server, resolver) = both().await;
    let did = did(&server, "nobody");
    for _ in 0..100 {
        let found = resolver.resolve(&did).await;
        assert_eq!(found.unwrap_err(), ResolveError::Status(404));
    }
    assert_eq!(server.request_count(), 1);
}

/// As many made-up DIDs as are fetched at once, all of a host that does not answer for them.
#[tokio::test]
async fn made_up_dids_leave_fetches_to_those_that_had_a_document() {
    let (_authority, server, resolver) = both().await;
    let alice = identity(&server, "alice", KeyKind::Ed25519);
    server.host(&alice);
    assert!(resolver.resolve(&alice.did).await.is_ok());
    let resolver = Arc::new(resolver);
    let mut made_up = tokio::task::JoinSet::new();
    for number in 0..100 {
        let path = format!("made-up-{number}");
        server.answer(&format!("/{path}/did.json"), Answer::Stuck(Vec::new()));
        let (resolver, did) = (resolver.clone(), did(&server, &path));
        made_up.spawn(async move { resolver.resolve(&did).await.is_ok() });
    }
    // The places of 64 are taken, and the others wait for them.
    while server.request_count() < 1 + 64 {
        tokio::task::yield_now().await;
    }
    // Past what is kept of hers, as when that has expired.
    assert!(resolver.explain(&alice.did, |_| {}).await.is_ok());
    assert_eq!(server.request_count(), 1 + 64 + 1);
    assert!(made_up.try_join_next().is_none());
}

/// Row 5 of the threats.
#[tokio::test]
async fn addresses_that_are_not_public_get_no_connection() {
    let authority = Authority::new();
    let server = Server::start(&authority).await;
    let mut open = config(&authority, &server);
    open.also_allow = None;
    let did = did(&server, "alice");
    for address in [
        "127.0.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "0.0.0.0",
        "::",
        "64:ff9b::7f00:1",
        "169.254.169.254",
        "fd00:ec2::254",
        "fe80::1",
        "10.0.0.1",
        "192.168.0.1",
    ] {
        let resolver = resolver(&open, Scripted::new(&[&[address]]));
        let error = resolver.resolve(&did).await.unwrap_err();
        let refused = ResolveError::Address(address.parse().unwrap());
        assert_eq!(error, refused, "{address}");
    }
    // One that is allowed does not open the way to another beside it.
    let mixed = Scripted::new(&[&["127.0.0.2", "::ffff:127.0.0.1"]]);
    let found = resolver(&open, mixed).resolve(&did).await;
    assert!(matches!(found, Err(ResolveError::Address(_))));
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
}

/// Row 5 of the threats.
#[tokio::test]
async fn a_port_that_is_not_allowed_gets_no_look_up() {
    let authority = Authority::new();
    let server = Server::start(&authority).await;
    let mut open = config(&authority, &server);
    open.allowed_ports = vec![443];
    let names = Scripted::new(LOOPBACK);
    let found = resolver(&open, names.clone())
        .resolve(&did(&server, "alice"))
        .await;
    assert_eq!(
        found.unwrap_err(),
        ResolveError::Port(server.address.port())
    );
    assert_eq!(names.lookups.load(Ordering::SeqCst), 0);
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
}

/// Row 6 of the threats.
#[tokio::test]
async fn a_name_is_looked_up_once_and_another_answer_is_checked_anew() {
    let authority = Authority::new();
    let server = Server::start(&authority).await;
    let port = server.address.port();
    let second = Server::start_on(&authority, ([127, 0, 0, 2], port).into()).await;
    let names = Scripted::new(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let resolver = resolver(&config(&authority, &server), names.clone());
    let [alice, bob] = ["alice", "bob"].map(|name| identity(&server, name, KeyKind::Ed25519));
    for server in [&server, &second] {
        server.host(&alice);
        server.host(&bob);
    }
    assert!(resolver.resolve(&alice.did).await.is_ok());
    assert_eq!(names.lookups.load(Ordering::SeqCst), 1);
    let error = resolver.resolve(&bob.did).await.unwrap_err();
    assert_eq!(error, ResolveError::Address("127.0.0.2".parse().unwrap()));
    assert_eq!(second.connections.load(Ordering::SeqCst), 0);
}

/// Row 6 of the threats.
#[tokio::test]
async fn redirects_are_not_followed() {
    let (authority, server, resolver) = both().await;
    let second = Server::start(&authority).await;
    for (path, line) in [
        ("a", "301 Moved"),
        ("b", "302 Found"),
        ("c", "307 Temporary"),
        ("d", "308 Permanent"),
    ] {
        let location = format!("https://did.test:{}/did.json", second.address.port());
        server.answer(
            &format!("/{path}/did.json"),
            Answer::status(&format!("{line}\r\nLocation: {location}")),
        );
        let found = resolver.resolve(&did(&server, path)).await;
        let status = line[..3].parse().unwrap();
        assert_eq!(found.unwrap_err(), ResolveError::Redirect(status));
    }
    assert_eq!(second.connections.load(Ordering::SeqCst), 0);
}

/// Row 7 of the threats.
#[tokio::test]
async fn a_huge_document_is_not_read() {
    let (_authority, server, resolver) = both().await;
    let too_large = ResolveError::Document(DocumentError::TooLarge);
    let endless = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
    server.answer("/endless/did.json", Answer::Endless(endless, b' '));
    let found = resolver.resolve(&did(&server, "endless")).await;
    assert_eq!(found.unwrap_err(), too_large);

    let said = b"HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n".to_vec();
    server.answer("/said/did.json", Answer::Stuck(said));
    let found = resolver.resolve(&did(&server, "said")).await;
    assert_eq!(found.unwrap_err(), too_large);

    let exact = Answer::ok("", &vec![b' '; 65_536]);
    server.answer("/exact/did.json", exact);
    let found = resolver.resolve(&did(&server, "exact")).await;
    assert_eq!(
        found.unwrap_err(),
        ResolveError::Document(DocumentError::Json)
    );

    let head = b"HTTP/1.1 200 OK\r\nX-Endless: ".to_vec();
    server.answer("/head/did.json", Answer::Endless(head, b'x'));
    let found = resolver.resolve(&did(&server, "head")).await;
    assert!(matches!(found, Err(ResolveError::Broken(_))), "{found:?}");
}

/// Row 7 of the threats.
#[tokio::test]
async fn a_compressed_or_deep_document_is_refused() {
    let (_authority, server, resolver) = both().await;
    for (path, coding) in [("gzip", "gzip"), ("br", "br"), ("two", "identity, gzip")] {
        let answer = Answer::ok(&format!("Content-Encoding: {coding}\r\n"), b"{}");
        server.answer(&format!("/{path}/did.json"), answer);
        let found = resolver.resolve(&did(&server, path)).await;
        assert_eq!(found.unwrap_err(), ResolveError::Coded, "{coding}");
    }
    for (path, text) in [
        ("array", "[".repeat(60_000)),
        ("object", "{\"a\":".repeat(10_000)),
    ] {
        server.answer(
            &format!("/{path}/did.json"),
            Answer::ok("", text.as_bytes()),
        );
        let found = resolver.resolve(&did(&server, path)).await;
        assert_eq!(
            found.unwrap_err(),
            ResolveError::Document(DocumentError::Json)
        );
    }
}

/// Row 7 of the threats.
#[tokio::test]
async fn a_server_that_takes_its_time_has_so_much_of_it() {
    let authority = Authority::new();
    let server = Server::start(&authority).await;
    let mut short = config(&authority, &server);
    short.timeout = Duration::from_millis(500);
    let resolver = resolver(&short, Scripted::new(LOOPBACK));
    let parts: [&[u8]; 3] = [
        b"HTTP",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n{",
    ];
    for (number, bytes) in parts.into_iter().enumerate() {
        server.answer(
            &format!("/{number}/did.json"),
            Answer::Stuck(bytes.to_vec()),
        );
        let found = resolver.resolve(&did(&server, &number.to_string())).await;
        assert_eq!(found.unwrap_err(), ResolveError::Timeout(short.timeout));
    }
}

#[tokio::test]
async fn only_certificates_for_the_host_are_believed() {
    let authority = Authority::new();
    let other = Server::start_as(&authority, ([127, 0, 0, 1], 0).into(), &["other.test"]).await;
    let open = config(&authority, &other);
    let found = resolver(&open, Scripted::new(LOOPBACK))
        .resolve(&did(&other, "a"))
        .await;
    assert!(matches!(found, Err(ResolveError::Tls(_))), "{found:?}");
    let server = Server::start(&authority).await;
    let strangers = ResolverConfig {
        ca_file: Some(Authority::new().file()),
        ..config(&authority, &server)
    };
    // The file of an authority that is gone, too.
    assert!(HttpsResolver::new(&strangers).is_err());
    let unknown = Authority::new();
    let strangers = config(&unknown, &server);
    let found = resolver(&strangers, Scripted::new(LOOPBACK))
        .resolve(&did(&server, "a"))
        .await;
    assert!(matches!(found, Err(ResolveError::Tls(_))), "{found:?}");
    assert_eq!(other.request_count() + server.request_count(), 0);
}

#[tokio::test]
async fn configuration_says_where_hosts_are_and_what_documents_say() {
    let authority = Authority::new();
    let server = Server::start(&authority).await;
    let alice = identity(&server, "alice", KeyKind::Secp256k1);
    server.host(&alice);
    let mut mapped = config(&authority, &server);
    mapped.also_allow = None;
    let place: Place = server.address.to_string().parse().unwrap();
    mapped.hosts = [("did.test".to_owned(), place)].into();
    let names = Scripted::new(&[&["192.0.2.1"]]);
    let mut steps = Vec::new();
    let mapped = resolver(&mapped, names.clone());
    let found = mapped.explain(&alice.did, |step| {
        steps.push(match step {
            Step::Url(_) => "url",
            Step::Configured(_) => "configured",
            Step::LookedUp(_) => "looked up",
            Step::Connected(_) => "connected",
            Step::Secured => "secured",
            Step::Answered(_) => "answered",
            Step::Read { .. } => "read",
            _ => "other",
        });
    });
    let document = found.await.unwrap();
    assert_eq!(
        steps,
        [
            "url",
            "configured",
            "connected",
            "secured",
            "answered",
            "read"
        ]
    );
    assert_eq!(names.lookups.load(Ordering::SeqCst), 0);

    let fixed = ResolverConfig {
        documents: vec![(*document).clone()],
        ..ResolverConfig::default()
    };
    let fixed = resolver(&fixed, names.clone());
    assert!(fixed.resolve(&alice.did).await.is_ok());
    assert_eq!(server.request_count(), 1);
}
