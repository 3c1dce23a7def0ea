//! A listener's side of TLS: from an accepted socket to a stream.

use std::{
    future::poll_fn,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use anp_tls::TlsStream;
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::store::ACME_TLS;
use crate::{
    conn::Deadline,
    listener::Listener,
    stop::{Step, Stop},
};

/// What every TLS record of a handshake begins with (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;

/// Most bytes of a plain request that are read so that its sender sees our answer.
const MAX_PLAIN: usize = 64 << 10;

/// TLS of one listener.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) listener: Listener,
    config: ArcSwap<ServerConfig>,
    pub(crate) outcomes: Outcomes,
}

/// How handshakes ended.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    pub(crate) complete: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) late: AtomicU64,
    /// The peer began with something else.
    pub(crate) plain: AtomicU64,
}

/// What a socket turned out to be.
enum Found {
    Tls(Box<TlsStream>),
    Plain,
    /// It ended before its first byte, as health checks and port scans do.
    Nothing,
}

impl Tls {
    pub(crate) fn new(listener: Listener, config: ServerConfig) -> Self {
        Self {
            listener,
            config: ArcSwap::from_pointee(config),
            outcomes: Outcomes::default(),
        }
    }

    /// Handshakes that begin from now on go by `config`.
    pub(crate) fn set(&self, config: ServerConfig) {
        self.config.store(Arc::new(config));
    }

    /// Shakes hands with the peer of `socket` until `deadline`. `None` where nothing came of it: the
    /// reason is counted, and in the log at level debug.
    pub(crate) async fn accept(
        &self,
        socket: TcpStream,
        stop: &Stop,
        deadline: &mut Deadline,
    ) -> Option<TlsStream> {
        let peer = socket.peer_addr().ok();
        let ends = match self.listener {
            Listener::Public | Listener::Redirect => Step::CloseIdle,
            Listener::Tunnel => Step::Now,
        };
        let found = tokio::select! {
            biased;
            found = self.shake_hands(socket) => found,
            () = poll_fn(|cx| deadline.poll(cx)) => {
                self.outcomes.late.fetch_add(1, Relaxed);
                tracing::debug!(?peer, listener = self.listener.name(), "no TLS handshake in time");
                return None;
            }
            () = stop.reached(ends) => return None,
        };
        let error = match found {
            Ok(Found::Tls(stream)) => {
                self.outcomes.complete.fetch_add(1, Relaxed);
                // The handshake was all that an authority wanted to see.
                return Some(*stream).filter(|stream| stream.alpn() != Some(ACME_TLS));
            }
            Ok(Found::Nothing) => return None,
            Ok(Found::Plain) => "the peer does not speak TLS".to_owned(),
            Err(error) => {
                self.outcomes.failed.fetch_add(1, Relaxed);
                error.to_string()
            }
        };
        tracing::debug!(
            ?peer,
            listener = self.listener.name(),
            error,
            "TLS handshake failed"
        );
        None
    }

    async fn shake_hands(&self, socket: TcpStream) -> io::Result<Found> {
        let mut first = [0];
        if socket.peek(&mut first).await? == 0 {
            return Ok(Found::Nothing);
        }
        if first[0] != HANDSHAKE {
            // Before the peer can see that it was refused.
            self.outcomes.plain.fetch_add(1, Relaxed);
            if first[0].is_ascii_alphabetic() {
                // A sender that is gone already needs no answer.
                let _ = refuse_plain(socket, self.listener).await;
            }
            return Ok(Found::Plain);
        }
        let stream = TlsStream::accept(self.config.load_full(), socket).await?;
        Ok(Found::Tls(Box::new(stream)))
    }
}

/// Tells the sender of a plain HTTP request what it should have sent. What it sends is read, since
/// closing a socket with unread bytes resets it, and the answer with it (RFC 9112 section 9.6).
async fn refuse_plain(mut socket: TcpStream, listener: Listener) -> io::Result<()> {
    let text = match listener {
        Listener::Public | Listener::Redirect => "this port speaks HTTPS: use https://\n",
        Listener::Tunnel => "this port takes tunnels over TLS: use wss://\n",
    };
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{text}",
        text.len()
    );
    socket.write_all(answer.as_bytes()).await?;
    socket.shutdown().await?;
    let mut discard = [0; 4096];
    let mut read = 0;
    while read < MAX_PLAIN {
        match socket.read(&mut discard).await? {
            0 => break,
            n => read += n,
        }
    }
    Ok(())
}
