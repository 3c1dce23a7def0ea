//! Whether the apps answer: asked now and then, and at once where a request could not reach one.

use std::{rc::Rc, time::Duration};

use anp_tunnel::{Status, Tunnel};
use bytes::BytesMut;
use tokio::{
    io::AsyncWriteExt as _,
    sync::{Notify, watch},
    task::spawn_local,
    time::timeout,
};
use tracing::{info, warn};

use crate::{
    address::AppUrl,
    app::{Socket, Tasks, is_short_of_descriptors},
    config::Config,
    connect::read_head,
    tls::Tls,
};

/// How soon an app that has just gone down is asked again: it may only be restarting, and requests wait
/// for it. Then half as often each time, down to the usual.
const SOON: Duration = Duration::from_millis(100);

/// How apps are checked.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    path: String,
    interval: Duration,
    timeout: Duration,
    fall: u32,
    rise: u32,
    tls: Option<Tls>,
}

impl Check {
    /// As `config` says; `None` where it asks for no checks. `tls` is for apps that speak it.
    pub(crate) fn new(config: &Config, tls: Option<Tls>) -> Option<Self> {
        Some(Self {
            path: config.health_path.clone()?,
            interval: config.health_interval.0,
            timeout: config.health_timeout.0,
            fall: config.health_fall,
            rise: config.health_rise,
            tls,
        })
    }

    /// Checks the apps of `tasks` for ever, and tells them which are down. `app_up` is true while any of
    /// them is up; `suspicion` has them checked at once, and one failure is then enough, as it is for
    /// apps that take the place of some that were down.
    pub(crate) async fn run(
        self,
        tasks: Rc<Tasks>,
        suspicion: Rc<Notify>,
        app_up: watch::Sender<bool>,
    ) {
        let apps = tasks.apps().all();
        let mut states: Vec<_> = apps.iter().map(|app| State::new(!app.is_down())).collect();
        let mut suspected = !*app_up.borrow();
        let mut pause = self.interval;
        loop {
            let mut news = false;
            // At once, so that one that hangs does not delay word of another.
            let asked: Vec<_> = apps
                .iter()
                .map(|app| {
                    let (check, url) = (self.clone(), app.url().clone());
                    spawn_local(async move { check.ask(&url).await })
                })
                .collect();
            for ((app, state), asked) in apps.iter().zip(&mut states).zip(asked) {
                let (url, was_up) = (app.url(), state.up);
                let Ok(Some(result)) = asked.await else {
                    continue;
                };
                news |= result.is_ok() && !was_up;
                let fall = if suspected { 1 } else { self.fall };
                match (state.record(result.is_ok(), fall, self.rise), result) {
                    (Some(false), Err(reason)) => warn!(app = %url, reason, "the app is down"),
                    (Some(true), _) => info!(app = %url, "the app is back"),
                    _ => {}
                }
                news |= state.up != was_up;
                app.set_down(!state.up);
            }
            let any = states.iter().any(|state| state.up);
            app_up.send_if_modified(|now| std::mem::replace(now, any) != any);
            pause = match states.iter().all(|state| state.up) {
                true => self.interval,
                false if news => SOON.min(self.interval),
                false => (pause * 2).min(self.interval),
            };
            suspected = tokio::select! {
                () = tokio::time::sleep(pause) => false,
                // Of apps that are known to be down nothing is to be suspected.
                () = suspicion.notified(), if any => true,
            };
        }
    }

    /// One request on a connection of its own; of an HTTP/2 app only the connection. `None` where no
    /// connection can be opened here, which says nothing of the app.
    pub(crate) async fn ask(&self, app: &AppUrl) -> Option<Result<(), String>> {
        let asking = async {
            let mut io = match Socket::connect(app, self.tls.as_ref()).await {
                Ok(io) => io,
                Err(error) if is_short_of_descriptors(&error) => return None,
                Err(error) => return Some(Err(error.to_string())),
            };
            Some(self.ask_on(&mut io, app).await)
        };
        match timeout(self.timeout, asking).await {
            Ok(result) => result,
            Err(_) => Some(Err("no answer in time".to_owned())),
        }
    }

    async fn ask_on(&self, io: &mut Socket, app: &AppUrl) -> Result<(), String> {
        if app.is_http2() {
            return Ok(());
        }
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: anp-proxy\r\n\
             Connection: close\r\n\r\n",
            self.path,
            app.authority()
        );
        let failed = |error: std::io::Error| error.to_string();
        io.write_all(request.as_bytes()).await.map_err(failed)?;
        let answer = read_head(io, &mut BytesMut::new()).await;
        match answer
            .map_err(|_| "the answer is no HTTP response".to_owned())?
            .status
        {
            200..400 => Ok(()),
            status => Err(format!("it answered {status}")),
        }
    }
}

/// Tells the gateway while no app takes requests (ANPX 3.9), from when the tunnel is ready to its end.
pub(crate) async fn tell_health(
    tunnel: Tunnel,
    mut status: watch::Receiver<Status>,
    mut app_up: watch::Receiver<bool>,
) {
    // Before it is ready there may be no session to tell.
    if status.wait_for(|now| *now >= Status::Ready).await.is_err() {
        return;
    }
    let telling = async {
        loop {
            tunnel.set_accepting(*app_up.borrow_and_update());
            if app_up.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = telling => {}
        _ = status.wait_for(|now| *now == Status::Closed) => {}
    }
}

/// What the checks of one app said.
#[derive(Debug)]
struct State {
    up: bool,
    /// Results in a row that speak against `up`.
    against: u32,
}

impl State {
    /// Of an app that is thought to be up, or down.
    fn new(up: bool) -> Self {
        Self { up, against: 0 }
    }

    /// Notes a result. After `fall` failures in a row the app is down, after `rise` successes up
    /// again; gives the new state where it changed.
    fn record(&mut self, success: bool, fall: u32, rise: u32) -> Option<bool> {
        if success == self.up {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.against < if success { rise } else { fall } {
            return None;
        }
        *self = Self::new(success);
        Some(success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_results_in_a_row_change_the_state() {
        let mut state = State::new(true);
        assert_eq!(state.record(false, 2, 2), None);
        assert_eq!(state.record(true, 2, 2), None);
        assert_eq!(state.record(false, 2, 2), None);
        assert_eq!(state.record(false, 2, 2), Some(false));
        assert_eq!(state.record(false, 2, 2), None);
        assert_eq!(state.record(true, 2, 2), None);
        assert_eq!(state.record(true, 2, 2), Some(true));
        assert_eq!(state.record(false, 1, 2), Some(false));
    }
}
