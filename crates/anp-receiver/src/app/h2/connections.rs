//! The connections to one app.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use tokio::{
    sync::Mutex,
    task::spawn_local,
    time::{Instant, timeout},
};
use tracing::debug;

use super::heads::MAX_HEAD_LIST;
use crate::{
    address::AppUrl,
    app::{AppError, Socket},
    tls::Tls,
};

/// What the app may send on one stream before the tunnel takes it: as much as a tunnel's own
/// stream holds, and enough for an app on the same machine.
const STREAM_WINDOW: u32 = 64 << 10;
/// As large as it can be (RFC 9113 section 6.9.1): a reader that stands still must hold up no other
/// stream, and what all may hold is bounded by their number.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// Most bytes of a DATA frame from the app.
const FRAME: u32 = 64 << 10;
/// Most body bytes that wait in one stream toward the app.
const SEND_BUFFER: usize = 64 << 10;
/// Streams given up for which late frames of the app are passed over without a word. For those
/// beyond, each frame is answered with a RST_STREAM, and however many there are, they end nothing:
/// callers that leave in masses must not end the connection for the others.
const GIVEN_UP: usize = 1024;
/// Most connections to one app. Beyond, requests wait for a place that the app's
/// MAX_CONCURRENT_STREAMS leaves.
const MAX_CONNECTIONS: usize = 64;

/// The connections of one worker to one app: one, unless the app allows it too few streams.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: RefCell<Vec<Open>>,
    /// For an app that speaks TLS.
    tls: Option<Tls>,
    /// Held while a connection is made, so that many requests at once make one.
    dialing: Mutex<()>,
}

#[derive(Debug)]
struct Open {
    send: SendRequest<Bytes>,
    streams: Rc<Cell<usize>>,
    /// The connection ended.
    over: Rc<Cell<bool>>,
    /// When it was last given out.
    used: Instant,
}

/// A place on a connection, held as long as its exchange lasts.
pub(crate) struct Lease {
    pub(crate) send: SendRequest<Bytes>,
    /// The connection was there before this exchange.
    pub(crate) kept: bool,
    streams: Rc<Cell<usize>>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.streams.set(self.streams.get().saturating_sub(1));
    }
}

impl Connections {
    /// Connections over TLS are made with `tls`.
    pub(crate) fn use_tls(&mut self, tls: Option<Tls>) {
        self.tls = tls;
    }

    /// A place on a connection, a new one where there is none; within `after`.
    ///
    /// # Errors
    /// [`AppError::Unreachable`], [`AppError::ConnectTimeout`].
    pub(crate) async fn lease(&self, url: &AppUrl, after: Duration) -> Result<Lease, AppError> {
        let found = async {
            if let Some(lease) = self.find().await {
                return Ok(lease);
            }
            let _alone = self.dialing.lock().await;
            // Another may have made one meanwhile.
            if let Some(lease) = self.find().await {
                return Ok(lease);
            }
            let open = dial(url, self.tls.as_ref()).await?;
            let lease = open.lease(false);
            self.open.borrow_mut().push(open);
            Ok(lease)
        };
        match timeout(after, found).await {
            Ok(Ok(lease)) => Ok(lease),
            Ok(Err(source)) => Err(AppError::Unreachable {
                app: url.to_string(),
                source,
            }),
            Err(_) => Err(AppError::ConnectTimeout {
                app: url.to_string(),
                after,
            }),
        }
    }

    /// A place on the least busy connection, unless another may be opened and is needed.
    async fn find(&self) -> Option<Lease> {
        poll_fn(|cx| {
            let mut open = self.open.borrow_mut();
            // An app that sent GOAWAY takes no more on this one.
            open.retain_mut(|o| !matches!(o.send.poll_ready(cx), Poll::Ready(Err(_))));
            open.retain(|o| !o.over.get());
            let full = open.len() >= MAX_CONNECTIONS;
            let best = open.iter_mut().min_by_key(|o| o.streams.get());
            let best = best.filter(|o| full || o.has_room());
            Poll::Ready(best.map(|o| {
                o.used = Instant::now();
                o.lease(true)
            }))
        })
        .await
    }

    /// Closes what was idle for `idle_timeout`.
    pub(crate) fn sweep(&self, idle_timeout: Duration) {
        let mut open = self.open.borrow_mut();
        open.retain(|o| !o.over.get() && (o.streams.get() > 0 || o.used.elapsed() < idle_timeout));
    }
}

impl Open {
    fn has_room(&self) -> bool {
        self.streams.get() < self.send.current_max_send_streams()
    }

    fn lease(&self, kept: bool) -> Lease {
        self.streams.set(self.streams.get() + 1);
        Lease {
            send: self.send.clone(),
            kept,
            streams: Rc::clone(&self.streams),
        }
    }
}

/// Makes a connection and waits until the app's settings are known.
async fn dial(url: &AppUrl, tls: Option<&Tls>) -> io::Result<Open> {
    let socket = Socket::connect(url, tls).await?;
    let no_http2 = |e: h2::Error| io::Error::other(format!("it does not answer in HTTP/2: {e}"));
    let (send, mut connection) = Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_header_list_size(MAX_HEAD_LIST)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(GIVEN_UP)
        .max_local_error_reset_streams(None)
        .enable_push(false)
        .handshake(socket)
        .await
        .map_err(no_http2)?;
    let ping = connection.ping_pong();
    let over = Rc::new(Cell::new(false));
    let ended = Rc::clone(&over);
    let app = url.to_string();
    spawn_local(async move {
        if let Err(error) = connection.await {
            debug!(%app, %error, "HTTP/2 connection broke");
        }
        ended.set(true);
    });
    // SETTINGS are an app's first frame (RFC 9113 section 3.4), so they come before this answer.
    if let Some(mut ping) = ping {
        ping.ping(h2::Ping::opaque()).await.map_err(no_http2)?;
    }
    Ok(Open {
        send,
        streams: Rc::default(),
        over,
        used: Instant::now(),
    })
}
