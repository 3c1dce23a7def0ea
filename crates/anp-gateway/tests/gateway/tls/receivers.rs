//! Receivers that must show a certificate.

use anp_gateway::{Config, TunnelTlsConfig};
use tokio::io::AsyncReadExt;

use super::authority::{Authority, caller, connect, receiver, showing};
use crate::support::{Caller, Receiver, answer, config, soon, start};

#[tokio::test]
async fn without_one_of_the_right_authority_there_is_no_tunnel() {
    let (authority, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let gateway = start(Config {
        tunnel_tls: Some(TunnelTlsConfig {
            client_ca: Some(clients.file()),
            ..TunnelTlsConfig::default()
        }),
        ..showing(&authority.issue("gate", &["gate.example"]))
    })
    .await;
    for (client, alert) in [
        (authority.client(&[]), "CertificateRequired"),
        (authority.client_showing(&strangers, "lab"), "alert"),
    ] {
        // In TLS 1.3 the client has finished before the server has judged.
        let error = match connect(gateway.tunnel, client).await {
            Err(error) => error,
            Ok(mut stream) => soon(stream.read_u8()).await.unwrap_err(),
        };
        assert!(error.to_string().contains(alert), "{error}");
    }
    let receiver = receiver(gateway.tunnel, authority.client_showing(&clients, "lab")).await;
    let mut caller = caller(gateway.public, &authority).await;
    caller.get("/").await;
    answer(&mut receiver.accept().await, 200, "shown");
    caller.until("\r\n\r\nshown").await;
}

#[tokio::test]
async fn the_tunnel_listener_can_be_plain_or_have_a_certificate_of_its_own() {
    let authority = Authority::new();
    let public = authority.issue("gate", &["gate.example"]);
    let gateway = start(Config {
        plain_tunnels: true,
        ..showing(&public)
    })
    .await;
    let mut plain = Caller::connect(gateway.tunnel).await;
    plain
        .handshake("/", &[("Sec-WebSocket-Protocol", "anpx.v2")])
        .await;
    assert!(plain.head().await.starts_with("HTTP/1.1 101"));
    Receiver::on_default(plain).await;

    let own = authority.issue("own", &["gate.example"]);
    let gateway = start(Config {
        tunnel_tls: Some(TunnelTlsConfig {
            cert: Some(own.cert),
            key: Some(own.key),
            client_ca: None,
        }),
        ..config()
    })
    .await;
    let receiver = receiver(gateway.tunnel, authority.client(&[])).await;
    let mut caller = gateway.caller().await;
    caller.get("/").await;
    let mut request = receiver.accept().await;
    assert_eq!(&request.head.scheme[..], b"http");
    answer(&mut request, 200, "ok");
    caller.until("\r\n\r\nok").await;
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let refused = |change: fn(&mut Config)| {
        let mut config = config();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    };
    let exposed = refused(|c| {
        c.allow_public_without_authentication = true;
        c.open = Some(true);
        c.tunnel_listen = "0.0.0.0:1".parse().unwrap();
    });
    assert!(exposed.starts_with("tunnel_listen: "), "{exposed}");
    assert!(exposed.contains("plain_tunnels = true"), "{exposed}");
    let both = refused(|c| {
        c.plain_tunnels = true;
        c.tunnel_tls = Some(TunnelTlsConfig::default());
    });
    assert!(both.starts_with("plain_tunnels: "), "{both}");
    let none = refused(|c| c.tunnel_tls = Some(TunnelTlsConfig::default()));
    assert!(none.starts_with("tunnel_tls.cert: "), "{none}");
    let half = refused(|c| {
        c.tunnel_tls = Some(TunnelTlsConfig {
            cert: Some("a.pem".into()),
            ..TunnelTlsConfig::default()
        });
    });
    assert!(half.starts_with("tunnel_tls.key: "), "{half}");
    let around = refused(|c| {
        c.tunnel_path = Some("/anpx".into());
        c.tunnel_tls = Some(TunnelTlsConfig {
            cert: Some("a.pem".into()),
            key: Some("a.key".into()),
            client_ca: Some("ca.pem".into()),
        });
    });
    assert!(around.starts_with("tunnel_path: "), "{around}");
}
