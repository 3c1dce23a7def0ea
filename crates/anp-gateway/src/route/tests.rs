//! Which endpoint a request reaches, and what a change of the endpoints leaves as it was.

use super::{place::Place, *};
use crate::owner::Owner;

fn endpoint(name: &str, host: Option<&str>, path: &str, receiver: &str) -> Endpoint {
    Endpoint {
        name: name.to_owned(),
        host: host.map(str::to_owned),
        path: path.to_owned(),
        receivers: vec![receiver.to_owned()],
        ..Endpoint::default()
    }
}

fn routes(rules: &[(&str, Option<&str>, &str)]) -> Routes {
    let endpoints = rules
        .iter()
        .map(|(name, host, path)| endpoint(name, *host, path, &format!("{name}-receiver")))
        .collect();
    let config = Config {
        endpoints,
        ..Config::default()
    };
    config.validate().unwrap();
    Routes::new(&config)
}

fn find(routes: &Routes, authority: &str, target: &str) -> Result<String, u16> {
    match routes.now().find(authority, target) {
        Ok(served) => Ok(served.name.clone()),
        Err(error) => Err(error.status().as_u16()),
    }
}

fn served_by(routes: &Routes, receiver: &str) -> Vec<String> {
    let owner = Owner::Name(receiver.to_owned());
    let table = routes.now();
    table.served_by(&owner).map(|s| s.name.clone()).collect()
}

#[test]
fn the_longest_prefix_of_whole_segments_wins() {
    let r = routes(&[
        ("root", None, "/"),
        ("a", None, "/a"),
        ("ab", None, "/a/b/"),
    ]);
    for (target, name) in [
        ("/", "root"),
        ("*", "root"),
        ("/?a", "root"),
        ("/a", "a"),
        ("/a?x=/a/b", "a"),
        ("/a/", "a"),
        ("/ab", "root"),
        ("/a/b", "ab"),
        ("/a/b/c", "ab"),
        ("/a/bc", "a"),
    ] {
        assert_eq!(find(&r, "h", target), Ok(name.to_owned()), "{target}");
    }
}

#[test]
fn hosts_are_exact_then_wildcard_then_any() {
    let r = routes(&[
        ("any", None, "/"),
        ("wide", Some("*.example.com"), "/"),
        ("deep", Some("*.b.example.com"), "/"),
        ("exact", Some("API.example.com"), "/v1"),
    ]);
    for (authority, name) in [
        ("other", Ok("any")),
        ("example.com", Ok("any")),
        ("x.example.com:8080", Ok("wide")),
        ("x.b.example.com", Ok("deep")),
        ("api.example.com", Err(404)),
        ("[::1]:80", Ok("any")),
    ] {
        assert_eq!(
            find(&r, authority, "/"),
            name.map(str::to_owned),
            "{authority}"
        );
    }
    assert_eq!(
        find(&r, "Api.Example.Com.:80", "/v1/x"),
        Ok("exact".to_owned())
    );
}

#[test]
fn a_spelling_that_changes_the_route_is_refused() {
    let r = routes(&[("root", None, "/"), ("admin", None, "/admin")]);
    for target in [
        "/%61dmin",
        "/x/../admin",
        "/x/%2e%2E/admin",
        "//admin",
        "/./admin/x",
        "/x\\..\\admin",
        "/admin/../x",
        "/%2fadmin",
        "/../admin",
        "/admin/..",
        "/admin;x",
        "/;x/admin",
        "/x/..;/admin",
        "/x/;/../admin",
        "/%61dmin%3Bx",
        // Dots that take away less, or more, where slashes are decoded or kept, or empty segments are.
        "/a%2fb/../admin/secret",
        "/a%5cb/../admin/secret",
        "/./admin//../secret",
        "/%2e%2e/admin//../secret",
        "/x/..;%2fx/admin/secret",
        "/admin%2f..%2fx",
        "/x/%2e%2e/../admin",
        "/admin/x/..;a/y",
        "/admin;%2fx/..",
        // Parameters that end before their encoded slash.
        "/admin;%2fx",
    ] {
        assert_eq!(find(&r, "h", target), Err(400), "{target}");
    }
    for (target, name) in [
        ("/a%20b", "root"),
        ("/x//y", "root"),
        ("/x;a=1/y;b", "root"),
        ("/admin/x;a=1", "admin"),
        ("/%zz", "root"),
        ("/%", "root"),
        ("/admin/%2e", "admin"),
        ("/admin/a%2Fb", "admin"),
        ("/.well-known/did.json", "root"),
        ("/%2561dmin", "root"),
        ("/..", "root"),
    ] {
        assert_eq!(find(&r, "h", target), Ok(name.to_owned()), "{target}");
    }
}

#[test]
fn without_endpoints_everything_is_open() {
    let r = Routes::new(&Config::default());
    for target in ["/x/../y", "/x%2f/../y//..;/%2e."] {
        assert_eq!(find(&r, "", target), Ok("open".to_owned()), "{target}");
    }
    assert_eq!(served_by(&r, "whoever"), ["open"]);
    let r = routes(&[("a", None, "/a")]);
    assert_eq!(find(&r, "h", "/b"), Err(404));
    assert_eq!(served_by(&r, "a-receiver"), ["a"]);
    assert!(served_by(&r, "b-receiver").is_empty());
}

#[test]
fn endpoints_come_and_go() {
    let r = routes(&[("root", None, "/"), ("ab", Some("h.example"), "/a/b")]);
    let before = r.now();
    let made = |name: &str, host: Option<&str>, path: &str| {
        let endpoint = endpoint(name, host, path, "ab-receiver");
        Arc::new(Served::new(&endpoint, &Config::default()))
    };
    r.change(|table| table.insert(made("a", Some("H.example"), "/a/")))
        .unwrap();
    assert_eq!(find(&r, "h.example", "/a/c"), Ok("a".to_owned()));
    assert_eq!(served_by(&r, "ab-receiver"), ["a", "ab"]);
    let taken = r.change(|table| table.insert(made("a", None, "/x")));
    assert_eq!(taken, Err(Taken::Name("a".to_owned(), Source::Config)));
    let taken = r.change(|table| table.insert(made("b", Some("h.example"), "/a/b/")));
    assert_eq!(taken, Err(Taken::Place("ab".to_owned(), Source::Config)));
    r.change(|table| table.remove("ab").map(drop).ok_or(()))
        .unwrap();
    assert_eq!(find(&r, "h.example", "/a/b"), Ok("a".to_owned()));
    r.change(|table| table.remove("a").map(drop).ok_or(()))
        .unwrap();
    assert_eq!(find(&r, "h.example", "/a/b"), Ok("root".to_owned()));
    assert!(served_by(&r, "ab-receiver").is_empty());
    assert_eq!(r.now().iter().count(), 1);
    // Who looks at a table keeps it.
    assert_eq!(before.find("h.example", "/a/b").unwrap().name, "ab");
}

#[test]
fn two_endpoints_never_have_the_tunnels_of_one() {
    let one = |name: &str, path: &str, receiver: &str| endpoint(name, None, path, receiver);
    let config = |endpoints| Config {
        endpoints,
        ..Config::default()
    };
    let pool = |r: &Routes, name: &str| r.now().named(name).unwrap().pool.clone();
    // The registry's is left out until the configuration's has another name.
    let r = Routes::new(&config(vec![one("a", "/p", "o")]));
    let kept = vec![Arc::new(one("a", "/q", "m"))];
    r.register(&config(vec![one("a", "/p", "o")]), kept);
    r.configure(&config(vec![one("b", "/p", "o")]), |_| {});
    assert!(!Arc::ptr_eq(&pool(&r, "a"), &pool(&r, "b")));
    // One moves, and another takes its place.
    let r = Routes::new(&config(vec![one("c", "/c", "c")]));
    let settings = config(vec![one("c", "/c", "c")]);
    r.register(&settings, vec![Arc::new(one("a", "/p", "o"))]);
    let kept = [one("a", "/q", "m"), one("b", "/p", "o")];
    r.register(&settings, kept.map(Arc::new).to_vec());
    assert!(!Arc::ptr_eq(&pool(&r, "a"), &pool(&r, "b")));
}

#[test]
fn the_configuration_comes_before_the_registry() {
    let endpoint = |name: &str, path: &str| {
        super::tests::endpoint(name, None, path, &format!("{name}-receiver"))
    };
    let config = |endpoints| Config {
        endpoints,
        ..Config::default()
    };
    let r = Routes::new(&config(vec![endpoint("a", "/a"), endpoint("b", "/b")]));
    let all = [
        endpoint("b", "/x"),
        endpoint("c", "/a/"),
        endpoint("d", "/d"),
    ];
    let all = all.map(Arc::new).to_vec();
    r.register(&config(vec![endpoint("a", "/a"), endpoint("b", "/b")]), all);
    assert_eq!(find(&r, "h", "/a"), Ok("a".to_owned()));
    assert_eq!(find(&r, "h", "/d"), Ok("d".to_owned()));
    assert_eq!(find(&r, "h", "/x"), Err(404));
    let why = |name: &str| r.now().left_out(name).map(|l| l.why.clone());
    assert_eq!(why("b"), Some(Taken::Name("b".to_owned(), Source::Config)));
    assert_eq!(why("c"), Some(Taken::Place("a".to_owned(), Source::Config)));

    let pool = r.now().named("d").unwrap().pool.clone();
    r.configure(&config(vec![endpoint("b", "/b")]), |_| {});
    assert_eq!(find(&r, "h", "/a"), Ok("c".to_owned()));
    assert!(Arc::ptr_eq(&pool, &r.now().named("d").unwrap().pool));
    assert!(why("c").is_none() && why("b").is_some());
    r.configure(&config(vec![endpoint("z", "/d")]), |_| {});
    assert_eq!(find(&r, "h", "/x"), Ok("b".to_owned()));
    assert_eq!(why("d"), Some(Taken::Place("z".to_owned(), Source::Config)));
}

#[test]
fn endpoints_of_dids_take_nothing_from_others() {
    let r = routes(&[
        ("root", None, "/"),
        ("team", None, "/team"),
        ("in", None, "/x/in"),
    ]);
    let of_did = |path: &str| {
        let endpoint = Endpoint {
            name: format!("did:wba:a.example{}", path.replace('/', ":")),
            path: path.to_owned(),
            owner: Some(Owner::Did(path.to_owned())),
            ..Endpoint::default()
        };
        Arc::new(Served::of_did(&endpoint, &Config::default()))
    };
    let add = |path: &str| r.change(|table| table.insert_of_did(of_did(path)));
    let config = |name: &str| (name.to_owned(), Source::Config);
    let did = |name: &str| (format!("did:wba:a.example{name}"), Source::Did);
    let within = |(name, source)| Err(Taken::Within(name, source));
    assert_eq!(add("/team/alice"), within(config("team")));
    assert_eq!(
        add("/team"),
        Err(Taken::Place("team".to_owned(), Source::Config))
    );
    // Around what is configured, which is longer, and keeps its requests.
    assert_eq!(add("/x"), Ok(()));
    assert_eq!(find(&r, "h", "/x/in/y"), Ok("in".to_owned()));
    assert_eq!(find(&r, "h", "/x/y"), Ok("did:wba:a.example:x".to_owned()));
    assert_eq!(add("/x/y"), within(did(":x")));
    assert_eq!(add("/a/b/c"), Ok(()));
    let (name, source) = did(":a:b:c");
    assert_eq!(add("/a"), Err(Taken::Around(name, source)));
    assert_eq!(add("/a/d"), Ok(()));
    assert_eq!(find(&r, "h", "/a/d/did.json"), Ok("root".to_owned()));

    let room = |path: &str| {
        let mut moved = Vec::new();
        let _ = r.change(|table| {
            moved = table.make_room(&Place::new(None, path));
            Ok::<(), Infallible>(())
        });
        moved.len()
    };
    assert_eq!(
        (room("/"), room("/a/b/c/d"), room("/a"), room("/a")),
        (0, 0, 2, 0)
    );
    assert_eq!(find(&r, "h", "/a/d"), Ok("root".to_owned()));
}

#[test]
fn dots_are_refused_only_where_a_path_decides() {
    let r = routes(&[("named", Some("c.example"), "/"), ("any", None, "/")]);
    let dotted = |host: &str| find(&r, host, "/x%2f../y");
    assert_eq!(dotted("h"), Ok("any".to_owned()));
    let endpoint = Endpoint {
        name: "did:wba:a.example:alice".to_owned(),
        path: "/alice".to_owned(),
        owner: Some(Owner::Did("did:wba:a.example:alice".to_owned())),
        ..Endpoint::default()
    };
    let served = Arc::new(Served::of_did(&endpoint, &Config::default()));
    let put = r.change(|table| table.insert_of_did(served));
    assert_eq!(put, Ok(()));
    assert_eq!(dotted("h"), Err(400));
    // No path of a DID leads anywhere on a host that an endpoint names.
    assert_eq!(find(&r, "c.example", "/alice"), Ok("named".to_owned()));
    assert_eq!(dotted("c.example"), Ok("named".to_owned()));
}

#[test]
fn what_is_written_comes_first_whichever_rule_names_its_host() {
    let r = routes(&[
        ("root", None, "/"),
        ("admin", None, "/admin"),
        ("wide", Some("*.b.example"), "/w"),
        ("named", Some("c.example"), "/n"),
    ]);
    let of_did = |host: Option<&str>, path: &str| {
        let endpoint = Endpoint {
            name: format!("did:wba:{}{path}", host.unwrap_or("any")),
            host: host.map(str::to_owned),
            path: path.to_owned(),
            owner: Some(Owner::Did(path.to_owned())),
            ..Endpoint::default()
        };
        Arc::new(Served::of_did(&endpoint, &Config::default()))
    };
    let add = |host, path| r.change(|table| table.insert_of_did(of_did(host, path)));
    let is = |taken: Result<(), Taken>, name: &str| match taken {
        Err(Taken::Place(other, _) | Taken::Within(other, _)) => other == name,
        _ => false,
    };
    assert!(is(add(Some("a.example"), "/admin"), "admin"));
    assert!(is(add(Some("a.example"), "/admin/x"), "admin"));
    assert!(is(add(Some("x.b.example"), "/w"), "wide"));
    // One host of a DID's own leaves its other paths where they were.
    assert_eq!(add(Some("a.example"), "/alice"), Ok(()));
    for (host, target, name) in [
        ("a.example", "/alice/x", "did:wba:a.example/alice"),
        ("a.example", "/admin", "admin"),
        ("a.example", "/other", "root"),
        ("d.example", "/alice", "root"),
    ] {
        assert_eq!(
            find(&r, host, target),
            Ok(name.to_owned()),
            "{host}{target}"
        );
    }
    // Hosts that are named are no place of those that have any.
    assert_eq!(add(None, "/bob"), Ok(()));
    assert_eq!(
        find(&r, "d.example", "/bob"),
        Ok("did:wba:any/bob".to_owned())
    );
    assert_eq!(find(&r, "c.example", "/bob"), Err(404));

    let put = |name: &str, host: Option<&str>, path: &str| {
        let endpoint = endpoint(name, host, path, "somebody");
        let served = Arc::new(Served::new(&endpoint, &Config::default()));
        let place = served.place.clone();
        let mut moved = Vec::new();
        r.change(|table| {
            table.insert(served)?;
            moved = table.make_room(&place);
            Ok::<(), Taken>(())
        })
        .unwrap();
        moved.len()
    };
    assert_eq!(put("else", Some("e.example"), "/alice"), 0);
    assert_eq!(put("alice", None, "/alice"), 1);
    assert_eq!(find(&r, "a.example", "/alice"), Ok("alice".to_owned()));
    assert_eq!(put("bob", Some("d.example"), "/bob"), 0);
    assert_eq!(
        find(&r, "f.example", "/bob"),
        Ok("did:wba:any/bob".to_owned())
    );
}

#[test]
fn a_path_without_end_costs_no_more_than_the_prefixes_are_deep() {
    let r = routes(&[("a", None, "/a/a")]);
    let target = "/a".repeat(8_000);
    assert_eq!(find(&r, "h", &target), Ok("a".to_owned()));
}
