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
    io::{AsyncRead, AsyncWrite},
    sync::Mutex,
    task::spawn_local,
    time::{Instant, timeout},
};
use tracing::debug;

use super::{
    heads::MAX_HEAD_LIST,
    liveness::{Liveness, Waiting},
};
use crate::{
    address::AppUrl,
    app::{error::AppError, socket::Socket},
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
    liveness: Rc<Liveness>,
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
    pub(super) waiting: Waiting,
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

    /// A place on the least busy connection, unless another may be opened and is needed. One whose
    /// app may be gone is the last resort.
    async fn find(&self) -> Option<Lease> {
        poll_fn(|cx| {
            let mut open = self.open.borrow_mut();
            // An app that sent GOAWAY takes no more on this one.
            open.retain_mut(|o| !matches!(o.send.poll_ready(cx), Poll::Ready(Err(_))));
            open.retain(|o| !o.over.get());
            let full = open.len() >= MAX_CONNECTIONS;
            let best = open.iter_mut().min_by_key(|o| {
                let liveness = &o.liveness;
                (liveness.is_doubted(), liveness.streams())
            });
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
        let is_used = |o: &Open| o.liveness.streams() > 0 || o.used.elapsed() < idle_timeout;
        open.retain(|o| !o.over.get() && is_used(o));
    }

    /// Closes every connection once its exchanges are over.
    pub(crate) fn let_go(&self) {
        self.open.take();
    }
}

impl Open {
    fn has_room(&self) -> bool {
        !self.liveness.is_doubted()
            && self.liveness.streams() < self.send.current_max_send_streams()
    }

    fn lease(&self, kept: bool) -> Lease {
        Lease {
            send: self.send.clone(),
            kept,
            waiting: self.liveness.wait(),
        }
    }
}

/// Makes a connection and waits until the app's settings are known.
async fn dial(url: &AppUrl, tls: Option<&Tls>) -> io::Result<Open> {
    let socket = Socket::connect(url, tls).await?;
    begin(socket, url.to_string()).await
}

/// Begins HTTP/2 on `io`, a connection to `app`.
async fn begin<IO>(io: IO, app: String) -> io::Result<Open>
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let no_http2 = |e: h2::Error| io::Error::other(format!("it does not answer in HTTP/2: {e}"));
    let liveness = Liveness::new();
    let (send, mut connection) = Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_header_list_size(MAX_HEAD_LIST)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(GIVEN_UP)
        .max_local_error_reset_streams(None)
        .enable_push(false)
        .handshake(liveness.hear(io))
        .await
        .map_err(no_http2)?;
    let ping = connection.ping_pong();
    let mut ping = ping.ok_or_else(|| io::Error::other("it is pinged by somebody else"))?;
    let over = Rc::new(Cell::new(false));
    let ended = Rc::clone(&over);
    let name = app.clone();
    let mut carrying = spawn_local(async move {
        if let Err(error) = connection.await {
            debug!(app = %name, %error, "HTTP/2 connection broke");
        }
        ended.set(true);
    });
    // SETTINGS are an app's first frame (RFC 9113 section 3.4), so they come before this answer.
    ping.ping(h2::Ping::opaque()).await.map_err(no_http2)?;
    let (ended, watched) = (Rc::clone(&over), Rc::clone(&liveness));
    spawn_local(async move {
        tokio::select! {
            _ = &mut carrying => {}
            () = watched.watch(ping) => {
                debug!(%app, "HTTP/2 connection has no answer to a ping");
                // Before its streams end: who tries again takes another.
                ended.set(true);
                carrying.abort();
            }
        }
    });
    Ok(Open {
        send,
        liveness,
        over,
        used: Instant::now(),
    })
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use h2::client::ResponseFuture;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
        sync::oneshot,
        task::LocalSet,
    };

    use super::*;
    use crate::app::h2::liveness::{PONG, SILENCE};

    /// An app that answers until it is `cut` off: then nothing comes through, and nobody is told.
    async fn app(io: DuplexStream, cut: oneshot::Receiver<()>) {
        let answering = async {
            let mut connection = h2::server::handshake(io).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let answer = http::Response::new(());
                respond.send_response(answer, true).unwrap();
            }
        };
        tokio::pin!(answering);
        tokio::select! {
            biased;
            _ = cut => pending().await,
            () = &mut answering => {}
        }
    }

    /// An app that works on its answers and counts the pings it gets meanwhile.
    async fn thinker(mut io: DuplexStream, pings: Rc<Cell<usize>>) {
        const SETTINGS: u8 = 4;
        const PING: u8 = 6;
        io.read_exact(&mut [0; 24]).await.unwrap();
        io.write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0])
            .await
            .unwrap();
        let mut head = [0; 9];
        while io.read_exact(&mut head).await.is_ok() {
            let mut payload = vec![0; usize::from(head[2])];
            io.read_exact(&mut payload).await.unwrap();
            if head[3] == PING {
                pings.set(pings.get() + 1);
                io.write_all(&[0, 0, 8, PING, 1, 0, 0, 0, 0]).await.unwrap();
                io.write_all(&payload).await.unwrap();
            }
        }
    }

    async fn connected(to: DuplexStream) -> Connections {
        let connections = Connections::default();
        let open = begin(to, "app".to_owned()).await.unwrap();
        connections.open.borrow_mut().push(open);
        connections
    }

    /// A connection to an app that answers until it is cut off.
    async fn connected_to_app() -> (Connections, oneshot::Sender<()>) {
        let (ours, theirs) = duplex(64 << 10);
        let (cut, is_cut) = oneshot::channel();
        spawn_local(app(theirs, is_cut));
        (connected(ours).await, cut)
    }

    fn ask(lease: &mut Lease) -> ResponseFuture {
        let request = http::Request::get("http://app/").body(()).unwrap();
        lease.send.send_request(request, true).unwrap().0
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_goes_dark_is_given_to_nobody_and_ends() {
        let talk = async {
            let (connections, cut) = connected_to_app().await;
            let mut lease = connections.find().await.unwrap();
            ask(&mut lease).await.unwrap();
            drop(lease);
            cut.send(()).unwrap();
            let asked = Instant::now();
            let mut lease = connections.find().await.unwrap();
            let answer = ask(&mut lease);
            // Who asks next, once something is wrong, gets another connection.
            tokio::time::sleep(2 * SILENCE + PONG / 2).await;
            assert!(connections.find().await.is_none());
            assert!(answer.await.unwrap_err().is_io());
            assert!(asked.elapsed() <= 2 * SILENCE + PONG);
            assert!(connections.find().await.is_none());
            assert!(connections.open.borrow().is_empty());
        };
        LocalSet::new().run_until(talk).await;
    }

    #[tokio::test(start_paused = true)]
    async fn callers_that_do_not_wait_so_long_find_a_dark_connection_together() {
        let talk = async {
            let (connections, cut) = connected_to_app().await;
            cut.send(()).unwrap();
            let asked = Instant::now();
            while let Some(mut lease) = connections.find().await {
                assert!(timeout(SILENCE / 3, ask(&mut lease)).await.is_err());
                assert!(asked.elapsed() <= 2 * SILENCE);
            }
        };
        LocalSet::new().run_until(talk).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_app_that_takes_its_time_is_waited_for_and_seldom_pinged() {
        let talk = async {
            let (ours, theirs) = duplex(64 << 10);
            let pings = Rc::new(Cell::new(0));
            spawn_local(thinker(theirs, Rc::clone(&pings)));
            let connections = connected(ours).await;
            assert_eq!(pings.get(), 1);
            let mut lease = connections.find().await.unwrap();
            let waited = timeout(Duration::from_secs(300), ask(&mut lease)).await;
            assert!(waited.is_err());
            assert_eq!(pings.get(), 3);
        };
        LocalSet::new().run_until(talk).await;
    }
}
