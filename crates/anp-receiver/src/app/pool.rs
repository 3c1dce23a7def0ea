//! The apps of one worker and the connections kept to them.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    time::Duration,
};

use anp_http1::Connection;
use bytes::BytesMut;
use tokio::time::Instant;

use super::{error::AppError, h2::Connections, socket::Socket};
use crate::{address::AppUrl, coding::Codings, tls::Tls};

/// How connections are made and kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolConfig {
    /// How long connecting may take.
    pub(crate) connect_timeout: Duration,
    /// Idle connections kept to each app.
    pub(crate) max_idle: usize,
    /// How long an idle connection is kept.
    pub(crate) idle_timeout: Duration,
}

/// Every app a worker calls. Belongs to one thread, so nothing here is locked.
#[derive(Debug)]
pub(crate) struct Apps {
    apps: Vec<App>,
    /// Where the search for the least busy app starts; moves on, so that equals take turns.
    turn: Cell<usize>,
    config: PoolConfig,
    codings: Codings,
    tls: Option<Tls>,
}

/// One app.
#[derive(Debug)]
pub(crate) struct App {
    url: AppUrl,
    in_flight: Cell<usize>,
    /// Its checks say so.
    is_down: Cell<bool>,
    /// Kept connections, the longest unused first.
    idle: RefCell<VecDeque<Idle>>,
    http2: Connections,
}

#[derive(Debug)]
struct Idle {
    /// Boxed, as it is handed on with every request.
    conn: Box<Connection<Socket>>,
    since: Instant,
}

/// Counts one request against an app while it is in flight.
#[derive(Debug)]
pub(crate) struct InFlight<'a> {
    app: &'a App,
}

impl Apps {
    /// The apps at `urls`.
    pub(crate) fn new(urls: &[AppUrl], config: PoolConfig) -> Self {
        let app = |url: &AppUrl| App {
            url: url.clone(),
            in_flight: Cell::new(0),
            is_down: Cell::new(false),
            idle: RefCell::default(),
            http2: Connections::default(),
        };
        Self {
            apps: urls.iter().map(app).collect(),
            turn: Cell::new(0),
            config,
            codings: Codings::default(),
            tls: None,
        }
    }

    /// Apps that speak TLS are reached with `tls`.
    pub(crate) fn over_tls(mut self, tls: Option<Tls>) -> Self {
        for app in &mut self.apps {
            app.http2.use_tls(tls.clone());
        }
        self.tls = tls;
        self
    }

    /// Responses may be coded with `codings`.
    pub(crate) fn coded(mut self, codings: Codings) -> Self {
        self.codings = codings;
        self
    }

    /// What responses may be coded with.
    pub(crate) fn codings(&self) -> &Codings {
        &self.codings
    }

    /// All of them, in the order of their URLs.
    pub(crate) fn all(&self) -> &[App] {
        &self.apps
    }

    /// The apps in the order in which they should be tried, the least busy first. Those that are down
    /// are not, unless all are: one that hangs would keep a request that another may take in a moment.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = &App> {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let len = self.apps.len();
        let (before, from) = self.apps.split_at(turn.checked_rem(len).unwrap_or(0));
        let rotated = || from.iter().chain(before);
        // min_by_key gives the first of equals, which the rotation makes another each time.
        let best = rotated().min_by_key(|app| (app.is_down.get(), app.in_flight.get()));
        let down = best.is_some_and(|best| best.is_down.get());
        let others = rotated().filter(move |app| {
            app.is_down.get() == down && !best.is_some_and(|best| std::ptr::eq(best, *app))
        });
        best.into_iter().chain(others)
    }

    /// A kept connection to `app` on which nothing has happened since.
    pub(crate) fn kept(&self, app: &App) -> Option<Box<Connection<Socket>>> {
        let mut idle = app.idle.borrow_mut();
        // The most recent is the least likely to have been closed by the app.
        while let Some(Idle { mut conn, since }) = idle.pop_back() {
            if since.elapsed() < self.config.idle_timeout && conn.io_mut().is_quiet() {
                return Some(conn);
            }
        }
        None
    }

    /// A new connection to `app`.
    pub(crate) async fn fresh(&self, app: &App) -> Result<Box<Connection<Socket>>, AppError> {
        let after = self.config.connect_timeout;
        let connect = async {
            match Socket::connect(&app.url, self.tls.as_ref()).await {
                Err(error) if is_short_of_descriptors(&error) && self.give_up_idle() => {
                    Socket::connect(&app.url, self.tls.as_ref()).await
                }
                connected => connected,
            }
        };
        match tokio::time::timeout(after, connect).await {
            Ok(Ok(socket)) => Ok(Box::new(Connection::new(socket, BytesMut::new()))),
            Ok(Err(source)) => Err(AppError::Unreachable {
                app: app.url.to_string(),
                source,
            }),
            Err(_) => Err(AppError::ConnectTimeout {
                app: app.url.to_string(),
                after,
            }),
        }
    }

    /// Closes every idle connection: others need their descriptors. False where there was none.
    fn give_up_idle(&self) -> bool {
        let idle = self.apps.iter().map(|app| app.idle.take().len());
        idle.sum::<usize>() > 0
    }

    /// Closes what is kept for requests to come: none comes any more.
    pub(crate) fn let_go(&self) {
        self.give_up_idle();
        for app in &self.apps {
            app.http2.let_go();
        }
    }

    /// Keeps `conn` for another request.
    pub(crate) fn keep(&self, app: &App, mut conn: Box<Connection<Socket>>) {
        let mut idle = app.idle.borrow_mut();
        if idle.len() < self.config.max_idle {
            conn.rest();
            let since = Instant::now();
            idle.push_back(Idle { conn, since });
        }
    }

    /// Closes what was idle too long. Called now and then, so that the apps of a quiet receiver
    /// get their connections back.
    pub(crate) fn sweep(&self) {
        for app in &self.apps {
            let mut idle = app.idle.borrow_mut();
            let stale = |i: &Idle| i.since.elapsed() >= self.config.idle_timeout;
            while idle
                .front_mut()
                .is_some_and(|i| stale(i) || !i.conn.io_mut().is_quiet())
            {
                idle.pop_front();
            }
            app.http2.sweep(self.config.idle_timeout);
        }
    }

    /// How connections are made and kept.
    pub(crate) fn config(&self) -> &PoolConfig {
        &self.config
    }
}

/// True where it is not the app's fault that there is no connection, but too many are open here.
pub(crate) fn is_short_of_descriptors(error: &io::Error) -> bool {
    // EMFILE and ENFILE, for which the standard library has no kind.
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

impl App {
    /// Where it is, and how it is called.
    pub(crate) fn url(&self) -> &AppUrl {
        &self.url
    }

    /// Notes what its checks say.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.is_down.set(is_down);
    }

    /// What they said last.
    pub(crate) fn is_down(&self) -> bool {
        self.is_down.get()
    }

    /// Its connections over HTTP/2.
    pub(crate) fn http2(&self) -> &Connections {
        &self.http2
    }

    /// What goes before every target.
    pub(crate) fn prefix(&self) -> &[u8] {
        self.url.prefix()
    }

    /// Counts a request until the guard is dropped.
    pub(crate) fn enter(&self) -> InFlight<'_> {
        self.in_flight.set(self.in_flight.get() + 1);
        InFlight { app: self }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let count = &self.app.in_flight;
        count.set(count.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    const CONFIG: PoolConfig = PoolConfig {
        connect_timeout: Duration::from_secs(5),
        max_idle: 2,
        idle_timeout: Duration::from_secs(60),
    };

    async fn listening() -> (TcpListener, AppUrl) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        (listener, url.parse().unwrap())
    }

    fn urls(apps: &Apps) -> Vec<String> {
        apps.in_order().map(|app| app.url.to_string()).collect()
    }

    #[test]
    fn equals_take_turns_and_the_least_busy_goes_first() {
        let [a, b, c] = ["http://a/", "http://b/", "http://c/"];
        let all: Vec<AppUrl> = [a, b, c].iter().map(|u| u.parse().unwrap()).collect();
        let apps = Apps::new(&all, CONFIG);
        assert_eq!(urls(&apps), [a, b, c]);
        assert_eq!(urls(&apps), [b, c, a]);
        let busy: Vec<_> = apps.apps.iter().take(2).map(App::enter).collect();
        assert_eq!(urls(&apps), [c, a, b]);
        assert_eq!(urls(&apps), [c, a, b]);
        drop(busy);
        assert_eq!(urls(&apps), [b, c, a]);
    }

    #[test]
    fn apps_that_are_down_are_tried_where_all_are() {
        let [a, b, c] = ["http://a/", "http://b/", "http://c/"];
        let all: Vec<AppUrl> = [a, b, c].iter().map(|u| u.parse().unwrap()).collect();
        let apps = Apps::new(&all, CONFIG);
        let [first, second, third] = apps.all() else {
            panic!("three were given");
        };
        first.set_down(true);
        let _busy = [second.enter(), third.enter()];
        assert_eq!(urls(&apps), [b, c]);
        assert_eq!(urls(&apps), [b, c]);
        second.set_down(true);
        assert_eq!(urls(&apps), [c]);
        third.set_down(true);
        assert_eq!(urls(&apps), [a, b, c]);
    }

    #[tokio::test]
    async fn a_kept_connection_is_used_again_until_the_app_closes_it() {
        let (listener, url) = listening().await;
        let apps = Apps::new(&[url], CONFIG);
        let app = &apps.apps[0];
        let (conn, accepted) = tokio::join!(apps.fresh(app), listener.accept());
        let (theirs, _) = accepted.unwrap();
        apps.keep(app, conn.unwrap());
        let conn = apps.kept(app).unwrap();
        assert!(apps.kept(app).is_none());
        apps.keep(app, conn);

        drop(theirs);
        let seen = async {
            while app
                .idle
                .borrow_mut()
                .front_mut()
                .is_some_and(|i| i.conn.io_mut().is_quiet())
            {
                tokio::task::yield_now().await;
            }
        };
        seen.await;
        assert!(apps.kept(app).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connections_are_few_and_grow_old() {
        let (listener, url) = listening().await;
        let apps = Apps::new(&[url], CONFIG);
        let app = &apps.apps[0];
        let mut theirs = Vec::new();
        for _ in 0..3 {
            let (conn, accepted) = tokio::join!(apps.fresh(app), listener.accept());
            theirs.push(accepted.unwrap());
            apps.keep(app, conn.unwrap());
        }
        assert_eq!(app.idle.borrow().len(), 2);
        tokio::time::advance(CONFIG.idle_timeout).await;
        apps.sweep();
        assert_eq!(app.idle.borrow().len(), 0);
    }

    #[tokio::test]
    async fn an_absent_app_is_unreachable() {
        let (listener, url) = listening().await;
        drop(listener);
        let apps = Apps::new(&[url], CONFIG);
        let error = apps.fresh(&apps.apps[0]).await.unwrap_err();
        assert!(matches!(error, AppError::Unreachable { .. }));
        let missing = Apps::new(&["unix:/nonexistent/app.sock".parse().unwrap()], CONFIG);
        let error = missing.fresh(&missing.apps[0]).await.unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot connect to unix:/nonexistent/app.sock: ")
        );
    }
}
