//! Ctrl-C and SIGTERM: the first asks for a graceful stop, the second for an immediate one. So does
//! SIGHUP, the end of a terminal, but where it asks for the configuration to be read again.

use std::io;

use tokio::sync::{mpsc, watch};

use crate::manager;

/// How the program is to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// Run.
    #[default]
    No,
    /// Finish what is under way: another process serves the listeners.
    Replaced,
    /// Finish what is under way, up to the drain deadline.
    Graceful,
    /// Now.
    Now,
}

/// Follows the signals from now on, SIGHUP among them.
///
/// # Errors
/// The signals cannot be taken.
pub(crate) fn follow() -> io::Result<watch::Receiver<Stop>> {
    Ok(obey(Signals::with_hangup()?).1)
}

/// As [`follow`] without SIGHUP, and with a way for others to say [`Stop::Replaced`].
///
/// # Errors
/// As [`follow`].
pub(crate) fn follow_and_tell() -> io::Result<(watch::Sender<Stop>, watch::Receiver<Stop>)> {
    Ok(obey(Signals::new()?))
}

/// As [`follow`], but SIGHUP asks for a reload, unless it comes with the end of the terminal that the
/// program was started at. Reloads that are asked for while one waits are that one.
///
/// # Errors
/// As [`follow`].
pub(crate) fn follow_and_reload() -> io::Result<(watch::Receiver<Stop>, mpsc::Receiver<()>)> {
    let (ask, asked) = mpsc::channel(1);
    let (_, stop) = obey(Signals::with_reload(ask)?);
    Ok((stop, asked))
}

fn obey(mut signals: Signals) -> (watch::Sender<Stop>, watch::Receiver<Stop>) {
    let (teller, receiver) = watch::channel(Stop::No);
    let sender = teller.clone();
    tokio::spawn(async move {
        signals.next().await;
        tracing::info!("stopping; once more to stop now");
        manager::stops();
        sender.send_replace(Stop::Graceful);
        signals.next().await;
        sender.send_replace(Stop::Now);
        // Whoever waits for the sender's end would take it for another signal.
        std::future::pending::<()>().await;
    });
    (teller, receiver)
}

/// Calls `reload` for every SIGHUP from now on.
///
/// # Errors
/// The signal cannot be taken.
#[cfg(unix)]
pub(crate) fn on_hangup(reload: impl Fn() + Send + 'static) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangups = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            reload();
        }
    });
    Ok(())
}

/// There is no such signal here.
///
/// # Errors
/// Never.
#[cfg(not(unix))]
pub(crate) fn on_hangup(_reload: impl Fn() + Send + 'static) -> io::Result<()> {
    Ok(())
}

/// Ready once `stop` says `what` or more; never, where nobody can say it any more.
pub(crate) async fn reached(mut stop: watch::Receiver<Stop>, what: Stop) {
    if stop.wait_for(|now| *now >= what).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Passes on what `stop` says, in the words of another type.
pub(crate) fn translate<T: Send + Sync + 'static>(
    mut stop: watch::Receiver<Stop>,
    word: fn(Stop) -> T,
) -> watch::Receiver<T> {
    let (sender, receiver) = watch::channel(word(*stop.borrow_and_update()));
    tokio::spawn(async move {
        while stop.changed().await.is_ok() {
            sender.send_replace(word(*stop.borrow_and_update()));
        }
    });
    receiver
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: Option<tokio::signal::unix::Signal>,
    reload: Option<Reload>,
}

/// What SIGHUP asks for.
#[cfg(unix)]
struct Reload {
    ask: mpsc::Sender<()>,
    /// With the end of its terminal the program is to stop.
    at_terminal: bool,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: None,
            reload: None,
        })
    }

    fn with_reload(ask: mpsc::Sender<()>) -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let at_terminal = !hangup_is_ignored() && has_terminal();
        Ok(Self {
            hangup: Some(signal(SignalKind::hangup())?),
            reload: Some(Reload { ask, at_terminal }),
            ..Self::new()?
        })
    }

    fn with_hangup() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let hangup = match hangup_is_ignored() {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        Ok(Self {
            hangup,
            ..Self::new()?
        })
    }

    async fn next(&mut self) {
        let Self {
            interrupt,
            terminate,
            hangup,
            reload,
        } = self;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = hangs_up(hangup, reload.as_ref()) => {}
        }
    }
}

/// Ready when SIGHUP asks for a stop.
#[cfg(unix)]
async fn hangs_up(hangup: &mut Option<tokio::signal::unix::Signal>, reload: Option<&Reload>) {
    while let Some(signal) = hangup {
        signal.recv().await;
        match reload {
            None => return,
            // The kernel and a shell may each tell of that: the second must not hurry the stop.
            Some(reload) if reload.at_terminal && !has_terminal() => {
                *hangup = None;
                return;
            }
            // One that waits is this one, too.
            Some(reload) => drop(reload.ask.try_send(())),
        }
    }
    std::future::pending().await
}

/// True while the program has a terminal.
#[cfg(unix)]
fn has_terminal() -> bool {
    use rustix::io::Errno;
    let gone = [Errno::NXIO, Errno::NOENT].map(Errno::raw_os_error);
    match std::fs::File::open("/dev/tty") {
        Ok(_) => true,
        // Of other errors, such as too many open files, nothing follows.
        Err(error) => !error
            .raw_os_error()
            .is_some_and(|code| gone.contains(&code)),
    }
}

/// True where whoever started the program wants it to outlive the terminal (`nohup`): the first bit of
/// what is ignored (`proc_pid_status(5)`).
#[cfg(unix)]
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 == 1)
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    fn with_hangup() -> io::Result<Self> {
        Self::new()
    }

    fn with_reload(_ask: mpsc::Sender<()>) -> io::Result<Self> {
        Self::new()
    }

    async fn next(&mut self) {
        // An error means that no signal will ever come.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
