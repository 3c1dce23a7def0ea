//! Receivers that have to prove who they are (rows 1, 10 and 12 of the threats).

use std::{net::SocketAddr, path::Path};

use anp_auth::{TokenHash, new_token};
use anp_gateway::{Config, Endpoint, Shutdown, config::PresharedToken};
use anp_tunnel::units::Span;

use super::{
    identity::{Tenant, V2, bearer, config, endpoint, shake, token_of, tunnel},
    support::{self, soon},
};

/// Row 12 of the threats.
#[tokio::test]
async fn whoever_proves_it_serves_what_is_his_and_nobody_else_does() {
    let (alice, bob) = (Tenant::new("alice"), Tenant::new("bob"));
    let mut config = config(&[("alice", &alice), ("bob", &bob)]);
    config.public_url = Some("https://gw.example".parse().unwrap());
    let running = support::start(config).await;
    let proof = alice.proof("gw.example");
    let (head, caller) = shake(&running, &proof, &[V2, ("ANPX-Endpoint", "/alice")]).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(
        head.contains("anpx-public-url: https://gw.example/alice/\r\n"),
        "{head}"
    );
    let token = token_of(&head);
    assert!(
        head.contains(&format!("authorization: Bearer {token}\r\n")),
        "{head}"
    );
    let _alice = tunnel(caller).await;
    assert!(running.get("/bob").await.starts_with("HTTP/1.1 503"));

    // The same header again, one for another service, none, and somebody else's place.
    let (head, _) = shake(&running, &proof, &[V2]).await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    assert!(
        head.contains("error=\"invalid_nonce\"") && head.contains("nonce=\""),
        "{head}"
    );
    let mut faces = Vec::new();
    for fields in [
        bob.proof("evil.example"),
        Vec::new(),
        bearer("anp_x"),
        bearer("a.b.c"),
    ] {
        let (head, _) = shake(&running, &fields, &[V2]).await;
        assert!(head.starts_with("HTTP/1.1 401"), "{head}");
        let lines = head.lines().filter(|line| !line.starts_with("date"));
        faces.push(lines.collect::<Vec<_>>().join("\n"));
    }
    faces.dedup();
    assert_eq!(faces.len(), 1, "{faces:?}");
    let stranger = Tenant::new("mallory");
    let (head, _) = shake(&running, &stranger.proof("gw.example"), &[V2]).await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    let metrics = running.metrics().await;
    for counted in ["{status=\"101\"} 1\n", "{status=\"401\"} 6\n"] {
        let counted = format!("anp_gateway_tunnel_handshakes_total{counted}");
        assert!(metrics.contains(&counted), "{metrics}");
    }
    let proof = bob.proof("gw.example");
    let (head, _) = shake(&running, &proof, &[V2, ("ANPX-Endpoint", "/alice")]).await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");

    // The token opens another tunnel of the same owner and brings no other token.
    let (head, _) = shake(
        &running,
        &bearer(&token),
        &[V2, ("ANPX-Endpoint", "/alice")],
    )
    .await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(!head.contains("access_token"), "{head}");
}

#[tokio::test]
async fn an_old_receiver_is_told_after_the_upgrade() {
    let alice = Tenant::new("alice");
    let running = support::start(config(&[("alice", &alice)])).await;
    let (head, mut caller) = shake(&running, &[], &[]).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let rest = caller.rest_bytes().await;
    // A close frame with 4003.
    assert_eq!(rest.get(..1), Some(&[0x88][..]));
    assert_eq!(rest.get(2..4), Some(&4003_u16.to_be_bytes()[..]));
}

/// Rows 10 and 12 of the threats.
#[tokio::test]
async fn a_tunnel_ends_when_its_permission_does() {
    let (alice, bob) = (Tenant::new("alice"), Tenant::new("bob"));
    let mut config = config(&[("bob", &bob)]);
    let (token, hash) = new_token().unwrap();
    config
        .endpoints
        .push(endpoint("lab", Some("token:lab".parse().unwrap())));
    config.endpoints.push(Endpoint {
        owner: alice.owner(),
        ..endpoint("alice", None)
    });
    let auth = config.auth.as_mut().unwrap();
    auth.resolver
        .documents
        .push(alice.dir.path().join("did.json"));
    auth.tokens = vec![PresharedToken {
        name: "lab".into(),
        hash,
    }];
    let changed = std::sync::Arc::new(std::sync::Mutex::new(config.clone()));
    let source = changed.clone();
    let bound = anp_gateway::Gateway::bind(config).await.unwrap();
    let bound = bound.reads(move || Ok(source.lock().unwrap().clone()));
    let reloader = bound.reloader();
    let running = support::run(bound);
    let mut held = Vec::new();
    for fields in [
        alice.proof("gw.example"),
        bearer(&token),
        bob.proof("gw.example"),
    ] {
        let (head, caller) = shake(&running, &fields, &[V2]).await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        held.push(tunnel(caller).await);
    }
    {
        let mut config = changed.lock().unwrap();
        config.endpoints.retain(|endpoint| endpoint.name != "alice");
        config.auth.as_mut().unwrap().tokens.clear();
    }
    let reloaded = reloader.reload().unwrap();
    assert_eq!(reloaded.changed, ["auth", "endpoints"]);
    let bob = held.pop().unwrap();
    for receiver in held {
        let closed = soon(receiver.driver).await.unwrap();
        assert_eq!(closed.code.map(|code| code.0), Some(4004));
    }
    assert!(!bob.driver.is_finished());
    let (head, _) = shake(&running, &bearer(&token), &[V2]).await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
}

/// Row 12: removed while it is connected.
#[tokio::test]
async fn a_did_that_is_no_longer_allowed_is_closed() {
    let (alice, bob) = (Tenant::new("alice"), Tenant::new("bob"));
    let mut config = config(&[]);
    config.open = Some(true);
    let auth = config.auth.as_mut().unwrap();
    let rule = |tenant: &Tenant| tenant.identity.did.as_str().parse().unwrap();
    auth.allow = vec![rule(&alice), rule(&bob)];
    let documents = [&alice, &bob].map(|tenant| tenant.dir.path().join("did.json"));
    auth.resolver.documents = documents.to_vec();
    let mut fewer = config.clone();
    fewer.auth.as_mut().unwrap().allow.remove(0);
    let bound = anp_gateway::Gateway::bind(config).await.unwrap();
    let bound = bound.reads(move || Ok(fewer.clone()));
    let reloader = bound.reloader();
    let running = support::run(bound);
    let mut held = Vec::new();
    for tenant in [&alice, &bob] {
        let (head, caller) = shake(&running, &tenant.proof("gw.example"), &[V2]).await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        held.push(tunnel(caller).await);
    }
    reloader.reload().unwrap();
    let bob = held.pop().unwrap();
    let closed = soon(held.pop().unwrap().driver).await.unwrap();
    assert_eq!(closed.code.map(|code| code.0), Some(4004));
    assert!(!bob.driver.is_finished());
}

/// Row 10 of the threats.
#[tokio::test]
async fn a_tunnel_that_a_token_opened_drains_before_the_token_ends() {
    let alice = Tenant::new("alice");
    let mut config = config(&[("alice", &alice)]);
    config.auth.as_mut().unwrap().token_lifetime = Span::from_secs(2);
    let running = support::start(config).await;
    let proof = alice.proof("gw.example");
    let (head, caller) = shake(&running, &proof, &[V2]).await;
    let signed = tunnel(caller).await;
    let (head, caller) = shake(&running, &bearer(&token_of(&head)), &[V2]).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let by_token = tunnel(caller).await;
    let closed = soon(by_token.driver).await.unwrap();
    assert_eq!(closed.code.map(|code| code.0), Some(1001));
    assert!(!signed.driver.is_finished());
}

#[tokio::test]
async fn a_key_and_nonces_outlive_the_gateway() {
    let alice = Tenant::new("alice");
    let state = tempfile::tempdir().unwrap();
    let mut config = config(&[("alice", &alice)]);
    let auth = config.auth.as_mut().unwrap();
    auth.keep_state_in(&state.path().join("made"));
    let running = support::start(config.clone()).await;
    let proof = alice.proof("gw.example");
    let (head, caller) = shake(&running, &proof, &[V2]).await;
    let token = token_of(&head);
    drop(caller);
    running.shutdown.send_replace(Shutdown::Now);
    soon(running.ended).await.unwrap().unwrap();

    let running = support::start(config).await;
    let (head, _) = shake(&running, &proof, &[V2]).await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    assert!(head.contains("invalid_nonce"), "{head}");
    let (head, _) = shake(&running, &bearer(&token), &[V2]).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt;
        let file = state.path().join("made").join(name);
        std::fs::metadata(Path::new(&file))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!((mode("tokens.pem"), mode("nonces.redb")), (0o600, 0o600));
}

#[test]
fn a_configuration_that_would_be_unsafe_is_refused_with_the_way_out() {
    let alice = Tenant::new("alice");
    let mut good = config(&[("alice", &alice)]);
    good.tunnel_listen = SocketAddr::from(([0, 0, 0, 0], 8765));
    good.plain_tunnels = true;
    assert_eq!(good.validate(), Ok(()));
    let refused = |spoil: &dyn Fn(&mut Config)| {
        let mut config = good.clone();
        spoil(&mut config);
        config.validate().unwrap_err().to_string()
    };
    let error = refused(&|c| c.auth.as_mut().unwrap().required = false);
    assert!(
        error.contains("allow_public_without_authentication"),
        "{error}"
    );
    let error = refused(&|c| c.auth = None);
    assert!(error.contains("[gateway.auth]"), "{error}");
    let error = refused(&|c| c.auth.as_mut().unwrap().public_names.clear());
    assert!(error.starts_with("auth.public_names: "), "{error}");
    let error = refused(&|c| c.endpoints[0].receivers = vec!["r".into()]);
    assert!(
        error.starts_with("endpoints[0].receivers: ") && error.contains("owner ="),
        "{error}"
    );
    let error = refused(&|c| c.endpoints[0].owner = Some("did:web:a.example".parse().unwrap()));
    assert!(error.starts_with("endpoints[0].owner: "), "{error}");
    let hash: TokenHash = new_token().unwrap().1;
    let token = |name: &str| PresharedToken {
        name: name.into(),
        hash,
    };
    let error = refused(&|c| c.auth.as_mut().unwrap().tokens = vec![token("a"), token("b")]);
    assert!(error.starts_with("auth.tokens: "), "{error}");
}
