//! Made-up DIDs of a domain that is allowed, and those of it who were there before.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use anp_gateway::Config;
use anp_tls::{
    TlsStream, provider, read,
    testing::{Authority, Files},
};
use anp_tunnel::units::Span;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::{mpsc, watch},
};

use super::{
    identity::{Tenant, V2, bearer, config, shake, token_of},
    support::{Running, soon, start},
};

/// Where DIDs of `did.example` have their documents: it gives those that exist, and no answer to who
/// asks for another until it is released.
struct Documents {
    address: SocketAddr,
    released: watch::Sender<bool>,
}

impl Documents {
    async fn of(tenants: &[&Tenant], files: &Files) -> Self {
        let chain = read::certificates(&files.cert).unwrap();
        let key = read::private_key(&files.key, read::WorldReadable::Refused).unwrap();
        let tls = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key);
        let tls = Arc::new(tls.unwrap());
        let known: HashMap<_, _> = tenants
            .iter()
            .map(|t| {
                (
                    t.identity.did.document_path(),
                    t.identity.document.to_string(),
                )
            })
            .collect();
        let known = Arc::new(known);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (released, release) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (tls, known, release) = (tls.clone(), known.clone(), release.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = TlsStream::accept(tls, socket).await {
                        give(stream, &known, release).await;
                    }
                });
            }
        });
        Self { address, released }
    }
}

async fn give(
    mut stream: TlsStream,
    known: &HashMap<String, String>,
    mut release: watch::Receiver<bool>,
) {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let head = String::from_utf8(read).unwrap();
    let answer = match known.get(head.split(' ').nth(1).unwrap()) {
        Some(text) => format!("200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()),
        None => {
            let _ = release.wait_for(|released| *released).await;
            "404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned()
        }
    };
    let _ = stream
        .write_all(format!("HTTP/1.1 {answer}").as_bytes())
        .await;
    let _ = stream.shutdown().await;
}

/// A gateway that lets every DID of `did.example` come.
fn letting_in(documents: &Documents, authority: &Authority) -> Config {
    let mut config = config(&[]);
    config.open = Some(true);
    let auth = config.auth.as_mut().unwrap();
    auth.allow = vec!["domain:did.example".parse().unwrap()];
    auth.resolver.ca_file = Some(authority.file());
    let place = documents.address.to_string().parse().unwrap();
    auth.resolver.hosts = [("did.example".to_owned(), place)].into();
    auth.resolver.timeout = Span::from_secs(60);
    config
}

/// Signs as DIDs that do not exist, until one is turned away since others have taken all that there
/// is for such. Each tells the status of its answer.
async fn flood(running: &Arc<Running>) -> mpsc::UnboundedReceiver<String> {
    // More of them than are fetched at once, and fewer than one host is asked for. As many handshakes
    // as wait for documents, and some more.
    let made_up: Vec<_> = (0..100).map(|_| Tenant::new("made-up")).collect();
    let (told, mut statuses) = mpsc::unbounded_channel();
    for number in 0..300 {
        let proof = made_up[number % made_up.len()].proof("gw.example");
        let (running, told) = (running.clone(), told.clone());
        tokio::spawn(async move {
            let (head, _) = shake(&running, &proof, &[V2]).await;
            let _ = told.send(head[9..12].to_owned());
        });
    }
    let first = soon(statuses.recv()).await.unwrap();
    assert_eq!(first, "503");
    statuses
}

#[tokio::test]
async fn made_up_dids_do_not_keep_out_who_was_there_before() {
    let (alice, bob) = (Tenant::new("alice"), Tenant::new("bob"));
    let authority = Authority::new();
    let files = authority.issue("did", &["did.example"]);
    let documents = Documents::of(&[&alice, &bob], &files).await;
    let running = Arc::new(start(letting_in(&documents, &authority)).await);
    let (head, caller) = shake(&running, &alice.proof("gw.example"), &[V2]).await;
    let token = token_of(&head);
    drop(caller);

    let mut statuses = flood(&running).await;
    for proof in [alice.proof("gw.example"), bearer(&token)] {
        let (head, _) = shake(&running, &proof, &[V2]).await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    }
    // It is still there. Who comes for the first time is held up by it, and told to come again: a
    // receiver that is not believed does not.
    let (head, _) = shake(&running, &bob.proof("gw.example"), &[V2]).await;
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert!(head.contains("retry-after: "), "{head}");

    documents.released.send_replace(true);
    while let Some(status) = soon(statuses.recv()).await {
        assert!(matches!(&*status, "401" | "503"), "{status}");
    }
    let (head, _) = shake(&running, &bob.proof("gw.example"), &[V2]).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
}
