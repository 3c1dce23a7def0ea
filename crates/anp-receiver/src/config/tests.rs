//! What types cannot check of a configuration.

use super::*;
use crate::{error::Error, receiver::Receiver};

fn valid() -> Config {
    Config {
        gateways: vec!["ws://127.0.0.1:8765".parse().unwrap()],
        to: vec!["http://127.0.0.1:8000".parse().unwrap()],
        ..Config::default()
    }
}

#[test]
fn the_defaults_need_only_the_two_addresses() {
    assert_eq!(valid().validate(), Ok(()));
    assert_eq!(Config::default().validate().unwrap_err().key, "gateways");
}

#[test]
fn a_secret_is_not_shown_and_loopback_may_see_it() {
    for gateway in [
        "ws://127.0.0.1:1",
        "ws://[::1]:1",
        "ws://localhost:1",
        "ws://[::ffff:127.0.0.1]:1",
    ] {
        let config = Config {
            gateways: vec![gateway.parse().unwrap()],
            token: Some(String::from("anp_secret").into()),
            ..valid()
        };
        assert_eq!(config.validate(), Ok(()), "{gateway}");
        let shown = format!("{config:?} {}", toml_like(&config));
        assert!(!shown.contains("anp_secret"), "{shown}");
    }
    // What is called so may be led elsewhere.
    let away = Config {
        gateways: vec!["ws://localhost:1".parse().unwrap()],
        resolve: [("localhost".to_owned(), vec![[192, 0, 2, 2].into()])].into(),
        token: Some(String::from("anp_secret").into()),
        ..valid()
    };
    assert_eq!(away.validate().unwrap_err().key, "gateways");
}

fn toml_like(config: &Config) -> String {
    // Any format shows what Serialize gives.
    serde_json::to_string(config).unwrap()
}

#[test]
fn an_app_in_the_process_has_no_url() {
    let mut config = valid();
    assert_eq!(config.validate_in_process().unwrap_err().key, "to");
    config.to.clear();
    assert_eq!(config.validate_in_process(), Ok(()));
    config.compress = vec![ContentCoding::Br];
    assert_eq!(config.validate_in_process(), Ok(()));
    assert_eq!(config.validate_streams().unwrap_err().key, "compress");
    config.health_path = Some("/".into());
    assert_eq!(config.validate_in_process().unwrap_err().key, "health_path");
}

#[test]
fn nobody_waits_in_vain_for_a_status_listener() {
    let mut config = Config {
        status_listen: Some(([127, 0, 0, 1], 0).into()),
        ..valid()
    };
    assert_eq!(config.validate(), Ok(()));
    let refused = |made: Result<Receiver, Error>| match made {
        Err(Error::Config(error)) => error.key,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(Receiver::new(config.clone())), "status_listen");
    config.to.clear();
    assert_eq!(
        config.validate_in_process().unwrap_err().key,
        "status_listen"
    );
}

#[test]
fn every_refusal_names_its_key() {
    type Spoil = fn(&mut Config);
    let cases: [(&str, Spoil); 22] = [
        ("did_key", |c| c.did_document = Some("did.json".into())),
        ("did_document", |c| c.did_key = Some("key.pem".into())),
        ("token_file", |c| {
            c.token = Some(String::from("anp_x").into());
            c.token_file = Some("token".into());
        }),
        ("token", |c| c.token = Some(String::from("a b").into())),
        ("gateways", |c| {
            c.gateways = vec!["ws://gate.example".parse().unwrap()];
            c.token = Some(String::from("anp_x").into());
        }),
        ("endpoints", |c| {
            c.endpoints = vec!["https://a.example".into()]
        }),
        ("endpoints", |c| c.endpoints = vec!["/a\r\nX: y".into()]),
        ("endpoints", |c| c.endpoints = vec!["/a".into(); 33]),
        ("health_path", |c| c.health_path = Some("healthz".into())),
        ("health_fall", |c| c.health_fall = 0),
        ("health_interval", |c| c.health_interval = Span::ZERO),
        ("client_key", |c| c.client_cert = Some("a.pem".into())),
        ("to", |c| c.to.clear()),
        ("name", |c| c.name = Some("two words".into())),
        ("compress", |c| {
            c.compress = vec![ContentCoding::Gzip, ContentCoding::Br, ContentCoding::Gzip]
        }),
        ("tunnels", |c| c.tunnels = 0),
        ("max_streams", |c| c.max_streams = 1025),
        ("workers", |c| c.workers = 257),
        ("ping_interval", |c| c.ping_interval = Span::ZERO),
        ("reconnect_delay", |c| {
            c.reconnect_delay = Span::from_secs(301)
        }),
        ("max_reconnect_delay", |c| {
            c.max_reconnect_delay = Span::from_millis(1)
        }),
        ("handshake_timeout", |c| c.handshake_timeout = Span::ZERO),
    ];
    for (key, spoil) in cases {
        let mut config = valid();
        spoil(&mut config);
        let error = config.validate().unwrap_err();
        assert_eq!(error.key, key);
        assert!(error.to_string().starts_with(key));
    }
}
