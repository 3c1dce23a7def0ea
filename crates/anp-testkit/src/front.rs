//! Relays in front of something else: TLS, and an HTTP proxy.

use std::{net::SocketAddr, sync::Arc};

use anp_tls::{TlsStream, provider, read, testing::Files};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A relay that ends with the test.
#[derive(Debug)]
pub struct Front {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Front {
    /// TLS in front of `behind`, with the certificate in `files`. It speaks the protocol `alpn`, and
    /// ends a connection without saying so in TLS where `rude`.
    ///
    /// # Panics
    /// The files cannot be used, or no port is free.
    pub async fn tls(behind: SocketAddr, files: &Files, alpn: &str, rude: bool) -> Self {
        let chain = read::certificates(&files.cert).expect("a certificate");
        let key = read::private_key(&files.key, read::WorldReadable::Refused).expect("a key");
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a certificate and its key");
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let config = Arc::new(config);
        Self::start(move |socket| {
            let config = config.clone();
            async move {
                let Ok(mut tls) = TlsStream::accept(config, socket).await else {
                    return;
                };
                let mut app = TcpStream::connect(behind).await.expect("the app listens");
                if rude {
                    let (mut from, mut to) = tokio::io::split(tls);
                    let (mut app_from, mut app_to) = app.split();
                    tokio::select! {
                        _ = tokio::io::copy(&mut from, &mut app_to) => {}
                        _ = tokio::io::copy(&mut app_from, &mut to) => {}
                    }
                    return;
                }
                let _ = copy_bidirectional(&mut tls, &mut app).await;
            }
        })
        .await
    }

    /// An HTTP proxy whose CONNECT leads to `behind`, whatever name it is asked for.
    pub async fn proxy(behind: SocketAddr) -> Self {
        Self::start(move |mut socket| async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match socket.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => return,
                }
            }
            assert!(head.starts_with(b"CONNECT "));
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            let mut way = TcpStream::connect(behind).await.expect("somebody listens");
            let _ = copy_bidirectional(&mut socket, &mut way).await;
        })
        .await
    }

    async fn start<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("a bound port");
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket));
            }
        });
        Self { addr, task }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}
