//! What a configuration may and may not hold.

use super::*;

fn refused(change: impl FnOnce(&mut Config)) -> String {
    let mut config = Config::default();
    change(&mut config);
    config.validate().unwrap_err().to_string()
}

fn endpoint(name: &str, path: &str) -> Endpoint {
    Endpoint {
        name: name.to_owned(),
        host: None,
        path: path.to_owned(),
        receivers: vec!["r".to_owned()],
        ..Endpoint::default()
    }
}

#[test]
fn the_defaults_are_valid_and_open() {
    let config = Config::default();
    assert_eq!(config.validate(), Ok(()));
    assert!(config.is_open());
}

#[test]
fn a_public_address_needs_to_be_meant() {
    let public: SocketAddr = "0.0.0.0:80".parse().unwrap();
    let text = refused(|c| c.tunnel_listen = public);
    assert!(text.starts_with("tunnel_listen: 0.0.0.0:80"), "{text}");
    assert!(
        text.contains("allow_public_without_authentication"),
        "{text}"
    );
    let text = refused(|c| {
        c.listen = public;
        c.allow_public_without_authentication = true;
    });
    assert!(
        text.starts_with("endpoints: nothing would be served"),
        "{text}"
    );
}

#[test]
fn each_listener_has_an_address_of_its_own() {
    let at = |text: &str| text.parse::<SocketAddr>().unwrap();
    let text = refused(|c| c.tunnel_listen = c.listen);
    assert_eq!(
        text,
        "tunnel_listen: 127.0.0.1:8080 is the address of listen already; each needs its own"
    );
    for taken in ["127.0.0.1:8080", "127.0.0.1:8765"] {
        let text = refused(|c| c.admin_listen = Some(at(taken)));
        assert!(
            text.starts_with(&format!("admin_listen: {taken} is")),
            "{text}"
        );
    }
    for taken in ["127.0.0.1:8080", "127.0.0.1:8765", "127.0.0.1:9000"] {
        let text = refused(|c| {
            c.admin_listen = Some(at("127.0.0.1:9000"));
            c.redirect_listen = Some(at(taken));
        });
        assert!(
            text.starts_with(&format!("redirect_listen: {taken} is")),
            "{text}"
        );
    }
    // Any free port is another each time.
    let any = at("127.0.0.1:0");
    let config = Config {
        listen: any,
        tunnel_listen: any,
        admin_listen: Some(any),
        ..Config::default()
    };
    assert_eq!(config.validate(), Ok(()));
}

#[test]
fn callers_are_sent_on_only_where_https_is_spoken() {
    let plain = Config {
        // Whoever it is finds nothing behind it.
        redirect_listen: Some("0.0.0.0:80".parse().unwrap()),
        ..Config::default()
    };
    let text = plain.validate().unwrap_err().to_string();
    assert!(text.starts_with("redirect_listen: "), "{text}");
    assert!(text.contains("set tls or acme"), "{text}");
    for tls in [
        r#"{"tls": {"cert": "gate.pem", "key": "gate.key"}}"#,
        r#"{"acme": {"domains": ["gate.example"], "cache": "acme", "terms_agreed": true}}"#,
    ] {
        let config = Config {
            redirect_listen: plain.redirect_listen,
            ..serde_json::from_str(tls).unwrap()
        };
        assert_eq!(config.validate(), Ok(()));
    }
}

#[test]
fn an_owner_is_one_that_can_come() {
    let owned = |owner: &str| Endpoint {
        receivers: Vec::new(),
        owner: Some(owner.parse().unwrap()),
        ..endpoint("a", "/")
    };
    for owner in ["token:lab", "did:wba:a.example"] {
        let text = refused(|c| c.endpoints = vec![owned(owner)]);
        let expected = format!(
            "endpoints[0].owner: nobody could serve this: receivers prove to be {owner} where there is [gateway.auth]"
        );
        assert_eq!(text, expected);
    }
    let hash = anp_auth::new_token().unwrap().1;
    let with = |names: &[&str]| Auth {
        public_names: vec!["gw.example".parse().unwrap()],
        tokens: names
            .iter()
            .map(|name| PresharedToken {
                name: (*name).to_owned(),
                hash,
            })
            .collect(),
        ..Auth::default()
    };
    for (names, there) in [(&[][..], "there are none"), (&["lab"], "there are lab")] {
        let config = Config {
            auth: Some(with(names)),
            endpoints: vec![owned("token:lba")],
            ..Config::default()
        };
        // A reload takes it: who takes a token out means it.
        assert_eq!(config.validate(), Ok(()));
        let [lost] = &config.lost_owners()[..] else {
            panic!("nobody has that token");
        };
        let text = lost.to_string();
        let expected = format!(
            "endpoints[0].owner: no token is called \"lba\", so nobody could serve this; in [[gateway.auth.tokens]] {there}"
        );
        assert_eq!(text, expected);
    }
    let config = Config {
        auth: Some(with(&["lab"])),
        endpoints: vec![owned("token:lab")],
        ..Config::default()
    };
    assert_eq!(config.validate(), Ok(()));
    assert_eq!(config.lost_owners(), []);
}

#[test]
fn an_empty_path_is_none() {
    for key in ["control_socket", "endpoint_store", "admin_token_file"] {
        let text = refused(|c| match key {
            "control_socket" => c.control_socket = Some("".into()),
            "endpoint_store" => c.endpoint_store = Some("".into()),
            _ => c.admin_token_file = Some("".into()),
        });
        assert_eq!(text.split(':').next(), Some(key));
    }
}

#[test]
fn the_reference_lists_what_waits_for_a_restart() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let document = std::fs::read_to_string(path).unwrap();
    let start = "| after a restart or `--replace` | ";
    let listed = document.split_once(start).unwrap().1;
    let listed = listed.split_once(", and of `auth`").unwrap().0;
    let listed: Vec<_> = listed
        .split(", ")
        .map(|key| key.trim_matches('`'))
        .collect();
    assert_eq!(listed, FIXED);
}

#[test]
fn errors_name_the_key() {
    assert!(refused(|c| c.tunnel_path = Some("anpx".into())).starts_with("tunnel_path: "));
    assert!(refused(|c| c.max_streams = 4096).starts_with("max_streams: 4096 is outside"));
    assert!(refused(|c| c.head_timeout = Span::ZERO).starts_with("head_timeout: "));
    assert!(refused(|c| c.max_header_size = Size(1)).starts_with("max_header_size: "));
    assert!(refused(|c| c.proxy_protocol = true).contains("trusted_proxies"));
    let none = refused(|c| {
        c.endpoints = vec![Endpoint {
            max_requests: Some(0),
            ..endpoint("a", "/x")
        }];
    });
    assert!(
        none.starts_with("endpoints[0].max_requests: 0 is outside"),
        "{none}"
    );
    let twice = refused(|c| c.endpoints = vec![endpoint("a", "/x"), endpoint("b", "/x/")]);
    assert_eq!(
        twice,
        "endpoints[1].path: endpoint \"a\" has this host and path"
    );
    let bad = refused(|c| c.endpoints = vec![endpoint("a", "/a/../b")]);
    assert!(bad.starts_with("endpoints[0].path: "), "{bad}");
}

#[test]
fn unknown_keys_are_refused_and_values_come_back() {
    let error = serde_json::from_str::<Config>(r#"{"listne": "127.0.0.1:1"}"#).unwrap_err();
    assert!(error.to_string().contains("listne"), "{error}");
    let config = Config {
        endpoints: vec![endpoint("a", "/x")],
        idle_timeout: Span::from_secs(60),
        ..Config::default()
    };
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
}

#[test]
fn cors_that_browsers_would_not_understand_is_refused() {
    let cors = |text: &str| refused(|c| c.cors = Some(serde_json::from_str(text).unwrap()));
    let error = cors(r#"{"origins": ["https://a.example", "*"], "credentials": true}"#);
    assert!(
        error.starts_with("cors.origins: \"*\" cannot be with"),
        "{error}"
    );
    let error = cors(r#"{"origins": ["https://a.example"], "credentials": true, "expose": ["*"]}"#);
    assert!(error.starts_with("cors.expose: "), "{error}");
    for origin in [
        "",
        "a.example",
        "https://",
        "https://a.example/",
        "https://A.example",
        "https://a.example:443",
        "http://a.example:80",
        "https://a.example:0443",
        "https://a example",
        "https://a.example:x",
    ] {
        let error = cors(&format!(r#"{{"origins": ["{origin}"]}}"#));
        assert!(error.starts_with("cors.origins: "), "{origin}: {error}");
    }
    assert!(cors(r#"{"origins": []}"#).starts_with("cors.origins: "));
    assert!(cors(r#"{"origins": ["*"], "headers": ["a b"]}"#).starts_with("cors.headers: "));
    let error = refused(|c| {
        c.endpoints = vec![Endpoint {
            cors: Some(serde_json::from_str(r#"{"origins": []}"#).unwrap()),
            ..endpoint("a", "/x")
        }];
    });
    assert!(error.starts_with("endpoints[0].cors.origins: "), "{error}");
    let good = r#"{"origins": ["https://a.example:8443", "http://[::1]:3000", "null", "tauri://localhost"]}"#;
    let config = Config {
        cors: Some(serde_json::from_str(good).unwrap()),
        ..Config::default()
    };
    assert_eq!(config.validate(), Ok(()));
    assert!(serde_json::from_str::<Switch<Cors>>("true").is_err());
    assert_eq!(
        serde_json::from_str::<Switch<Cors>>("false").unwrap(),
        Switch::Off
    );
}

#[test]
fn rates_and_other_policies_are_checked() {
    let rate = |text: &str| refused(|c| c.tenant_rate = Some(serde_json::from_str(text).unwrap()));
    assert!(rate("{}").starts_with("tenant_rate: limits nothing"));
    assert!(rate(r#"{"bytes": 5}"#).starts_with("tenant_rate.bytes: "));
    assert!(rate(r#"{"bytes": "1MiB", "burst": 5}"#).starts_with("tenant_rate.burst: "));
    assert!(rate(r#"{"requests": "1/s", "burst": 0}"#).starts_with("tenant_rate.burst: "));
    assert!(rate(r#"{"requests": "1/h", "burst": 1000001}"#).starts_with("tenant_rate.burst: "));
    for text in ["10", "10/d", "0/s", "-1/s", "1.5/s", "/s", "99999999/s"] {
        let error = text.parse::<Rate>().unwrap_err();
        assert!(error.contains("is not a rate"), "{error}");
    }
    for text in ["10/s", "600/m", "1/h"] {
        assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
    }
    assert!(refused(|c| c.max_requests = Some(0)).starts_with("max_requests: "));
    let set = r#"{"set": {"Content-Length": "5"}}"#;
    let error = refused(|c| c.security_headers = Some(serde_json::from_str(set).unwrap()));
    assert!(
        error.starts_with("security_headers.set: \"Content-Length\""),
        "{error}"
    );
    let set = "{\"set\": {\"x-a\": \"a\\r\\nb\"}}";
    let error = refused(|c| c.security_headers = Some(serde_json::from_str(set).unwrap()));
    assert!(error.starts_with("security_headers.set: "), "{error}");
    let error = refused(|c| {
        c.endpoints = vec![Endpoint {
            strip_prefix: true,
            ..endpoint("a", "/")
        }];
    });
    assert!(error.starts_with("endpoints[0].strip_prefix: "), "{error}");
    let error = refused(|c| {
        c.endpoints = vec![Endpoint {
            idle_timeout: Some(Span::ZERO),
            ..endpoint("a", "/x")
        }];
    });
    assert!(error.starts_with("endpoints[0].idle_timeout: "), "{error}");
}

#[test]
fn an_owner_is_one_that_is_proved() {
    let owned = |owner: &str| {
        let text =
            format!(r#"{{"endpoints": [{{"name": "a", "path": "/x", "owner": "{owner}"}}]}}"#);
        serde_json::from_str::<Config>(&text).map_err(|error| error.to_string())
    };
    for owner in ["did:wba:example.com:alice", "token:lab"] {
        let mut config = owned(owner).unwrap();
        config.endpoints[0].receivers.push("r".to_owned());
        assert_eq!(config.validate(), Ok(()));
    }
    let error = owned("laptop").unwrap().validate().unwrap_err().to_string();
    assert!(error.starts_with("endpoints[0].owner: "), "{error}");
    assert!(error.contains(r#"receivers = ["laptop"]"#), "{error}");
    assert!(owned("a b").unwrap_err().contains("is no owner"));
    let nobody = refused(|c| {
        c.endpoints = vec![Endpoint {
            receivers: Vec::new(),
            ..endpoint("a", "/x")
        }];
    });
    assert!(nobody.starts_with("endpoints[0].receivers: "), "{nobody}");
}

#[test]
fn an_admin_listener_for_strangers_needs_a_token() {
    let public = |c: &mut Config| c.admin_listen = Some("0.0.0.0:9000".parse().unwrap());
    let text = refused(public);
    assert!(text.starts_with("admin_listen: "), "{text}");
    assert!(text.contains("set admin_token_file"), "{text}");
    let text = refused(|c| {
        public(c);
        c.admin_token = Some(Secret::new("too short"));
    });
    assert!(text.starts_with("admin_token: "), "{text}");
    assert!(!text.contains("too short"), "{text}");
    let mut config = Config {
        admin_token: Some(Secret::new("0123456789abcdef")),
        ..Config::default()
    };
    public(&mut config);
    let text = config.validate().unwrap_err().to_string();
    assert!(text.contains("allow_plain_admin = true"), "{text}");
    config.allow_plain_admin = true;
    assert_eq!(config.validate(), Ok(()));
    config.admin_token_file = Some("elsewhere".into());
    let text = config.validate().unwrap_err().to_string();
    assert!(text.starts_with("admin_token_file: "), "{text}");
}

#[test]
fn endpoints_may_come_later() {
    let closed = Config {
        open: Some(false),
        ..Config::default()
    };
    assert!(closed.validate().is_err());
    let with_store = Config {
        endpoint_store: Some("endpoints.redb".into()),
        ..closed
    };
    assert_eq!(with_store.validate(), Ok(()));
}
