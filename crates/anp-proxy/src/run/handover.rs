//! One gateway in place of another: the running one hands its listening sockets to the next over a
//! Unix socket, and drains once the next serves.
//!
//! ```text
//! next:    replace             ──▶
//!                              ◀── public tunnel admin   (with the sockets, SCM_RIGHTS)  :running
//! next:    ready               ──▶   it serves; the running one takes no connection from here on
//!                              ◀── draining 3          endpoints had a receiver there, which will come over
//! ```
//!
//! A next one that goes away before it is ready changes nothing. One that is itself to be replaced at
//! once first waits for those receivers: it would have nobody for the callers that it has taken.

use std::{
    fs,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::TcpListener,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use anp_gateway::{Listeners, Reloader};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest},
    net::{UnixListener, UnixStream},
    sync::{oneshot, watch},
    time::timeout,
};

use super::{bind_with, descriptors, reloading, run_gateway, say_address, state};
use crate::{
    config::Loaded,
    exit::Failure,
    signals::{self, Stop},
};

/// Most sockets in one message: the system takes 253 (SCM_MAX_FD).
const MAX_SOCKETS: usize = 250;

/// How long either side may take for its next word.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often one asks that is cut off.
const ASKED: usize = 3;

/// The last word of the running one, without the number behind it.
const DRAINING: &str = "draining ";

/// Runs a gateway that others may replace, in place of the running one where asked to.
pub(super) async fn gateway(
    loaded: &Loaded,
    replace: bool,
    mut given: Listeners,
    tell: watch::Sender<Stop>,
    stop: watch::Receiver<Stop>,
) -> Result<(), Failure> {
    let config = &loaded.config.gateway;
    let path = control_path(config);
    let mut running = None;
    if replace {
        let path = path.as_deref().ok_or_else(|| {
            Failure::usage(
                "--replace finds the running gateway by its port: set gateway.listen, or \
                 gateway.control_socket",
            )
        })?;
        let asked = tokio::select! {
            asked = Running::ask(path) => asked,
            // Nothing has happened yet.
            () = signals::reached(stop.clone(), Stop::Graceful) => return Ok(()),
        };
        running = asked.map_err(|error| {
            Failure::runtime(format!(
                "no gateway handed over its listeners at {}: {error}",
                path.display()
            ))
        })?;
    }
    if let Some(running) = &mut running {
        given = std::mem::take(&mut running.listeners);
    }
    let mut bound = reloading(bind_with(loaded, given).await?, loaded)?;
    if running.is_some() {
        if *stop.borrow() != Stop::No {
            return Ok(());
        }
        bound = bound.catches_up();
    }
    let listeners = bound.listeners();
    let control = match &path {
        Some(path) => match listeners.and_then(|listeners| Control::open(path, listeners)) {
            Ok(control) => Some(control),
            Err(error) if config.control_socket.is_some() => {
                return Err(Failure::runtime(format!(
                    "gateway.control_socket: cannot listen at {}: {error}",
                    path.display()
                )));
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "this gateway cannot be replaced while it runs");
                None
            }
        },
        None => None,
    };
    say_address(&bound, &loaded.config.gateway);
    descriptors::warn_short(config);
    let reloader = bound.reloader();
    let ours = bound.reloader();
    let file = control.as_ref().map(|control| control.file.clone());
    let (coming, come) = oneshot::channel();
    let asked = stop.clone();
    let serving = move || {
        if *asked.borrow() != Stop::No {
            // It ends: whoever runs goes on.
            return;
        }
        if let Some(file) = file {
            file.put_in_place();
        }
        tokio::spawn(async move {
            let mut endpoints = 0;
            if let Some(running) = running {
                endpoints = running.send_away().await;
                // What the one before wrote between our start and its drain.
                reloader.catch_up().await;
            }
            // Nobody hears it where this gateway cannot be replaced.
            let _ = coming.send(endpoints);
        });
    };
    let stopping = signals::reached(stop.clone(), Stop::Graceful);
    let asked = stop.clone();
    let ended = run_gateway(bound, loaded, stop, serving);
    match control {
        None => ended.await,
        Some(control) => {
            let handing = tokio::spawn(async move {
                tokio::select! {
                    () = hand_over(control, come, tell, ours) => {}
                    // A handle kept would keep the port open although nobody accepts.
                    () = stopping => {}
                }
            });
            let result = ended.await;
            // Replaced with nothing under way, it may not have said its last word yet.
            if *asked.borrow() != Stop::Replaced {
                handing.abort();
            }
            // With its end the file is gone. What it panicked with was told.
            let _ = handing.await;
            result
        }
    }
}

/// Where gateways of this configuration meet. `None` where that would be by a port that is another each
/// time, or there is no directory for state.
pub(super) fn control_path(config: &anp_gateway::Config) -> Option<PathBuf> {
    config.control_socket.clone().or_else(|| {
        let port = config.listen.port();
        let directory = state::directory()?;
        (port != 0).then(|| directory.join(format!("gateway-{port}.sock")))
    })
}

/// The way to this gateway for the next. Dropping it removes the file.
struct Control {
    file: SocketFile,
    listener: UnixListener,
    listeners: Listeners,
}

impl Control {
    /// Opens it beside `path`, so that nothing has happened to the gateway before should this one fail
    /// to serve.
    fn open(path: &Path, listeners: Listeners) -> io::Result<Self> {
        if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)?;
        }
        let (file, listener) = SocketFile::open(path)?;
        Ok(Self {
            file,
            listener,
            listeners,
        })
    }

    /// Opens it anew where a next one had put its own in place and then did not come to serve.
    fn take_back(&mut self) {
        if self.file.is_in_place() {
            return;
        }
        match SocketFile::open(&self.file.path) {
            Ok((file, listener)) => {
                file.put_in_place();
                (self.file, self.listener) = (file, listener);
            }
            Err(error) => self.file.warn(&error),
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Before the listener goes: while it is there, no other file has the number of its inode.
        self.file.remove();
    }
}

/// The file of the control socket.
#[derive(Clone)]
struct SocketFile {
    /// Where it is until the gateway serves.
    fresh: PathBuf,
    path: PathBuf,
    inode: u64,
}

impl SocketFile {
    fn open(path: &Path) -> io::Result<(Self, UnixListener)> {
        if path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(format!(".{}", std::process::id()));
        let fresh = PathBuf::from(fresh);
        let _ = fs::remove_file(&fresh);
        let listener = UnixListener::bind(&fresh)?;
        let opened = fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))
            .and_then(|()| fs::symlink_metadata(&fresh));
        let inode = opened
            .inspect_err(|_| {
                let _ = fs::remove_file(&fresh);
            })?
            .ino();
        let path = path.to_owned();
        let file = Self { fresh, path, inode };
        Ok((file, listener))
    }

    /// Puts it in place whole, and instead of that of the gateway before.
    fn put_in_place(&self) {
        if let Err(error) = fs::rename(&self.fresh, &self.path) {
            self.warn(&error);
        }
    }

    fn is_in_place(&self) -> bool {
        self.is_at(&self.path)
    }

    fn is_at(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|file| file.ino() == self.inode)
    }

    fn warn(&self, error: &io::Error) {
        tracing::warn!(path = %self.path.display(), %error, "this gateway cannot be replaced while it runs");
    }

    /// Removes it, unless another gateway put its own there.
    fn remove(&self) {
        for path in [&self.fresh, &self.path] {
            if self.is_at(path) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Hands the listeners to whoever may have them, until one of them serves: once the receivers of so
/// many endpoints as `come` tells are there, those of the gateway before.
async fn hand_over(
    mut control: Control,
    come: oneshot::Receiver<usize>,
    tell: watch::Sender<Stop>,
    reloader: Reloader,
) {
    // Without a word the gateway does not serve, and nobody finds its control socket.
    let endpoints = come.await.unwrap_or_default();
    loop {
        let mut next = match control.listener.accept().await {
            Ok((next, _)) => next,
            Err(error) => {
                tracing::warn!(%error, "this gateway cannot be replaced while it runs");
                return;
            }
        };
        let mut settled = pin!(reloader.settled(endpoints));
        tokio::select! {
            biased;
            () = &mut settled => {}
            () = std::future::ready(()) => {
                tracing::info!("another gateway is to take over, once the receivers of the one before are here");
                settled.await;
            }
        }
        match hand_to(&mut next, &control.listeners).await {
            Ok(()) => {
                tracing::info!("another gateway took over the listeners");
                let served = reloader.served();
                // A stop that was asked for already is not taken back.
                tell.send_modify(|stop| *stop = (*stop).max(Stop::Replaced));
                // The next one reads the endpoints again then.
                reloader.draining().await;
                let word = format!("{DRAINING}{served}\n");
                let _ = timeout(PATIENCE, next.write_all(word.as_bytes())).await;
                return;
            }
            Err(error) => tracing::warn!(%error, "the listeners were not taken over"),
        }
        control.take_back();
    }
}

async fn hand_to(next: &mut UnixStream, listeners: &Listeners) -> io::Result<()> {
    check_user(next)?;
    expect(next, "replace").await?;
    let public = listeners.public.iter().map(|l| ("public", l));
    let tunnel = listeners.tunnel.iter().map(|l| ("tunnel", l));
    let admin = listeners.admin.iter().map(|l| ("admin", l));
    let all: Vec<_> = public.chain(tunnel).chain(admin).collect();
    if all.len() > MAX_SOCKETS {
        return Err(io::Error::other(
            "there are too many listeners to hand over",
        ));
    }
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    let text = names.join(" ") + "\n";
    let sockets: Vec<BorrowedFd<'_>> = all.iter().map(|(_, l)| l.as_fd()).collect();
    let sent = next.async_io(Interest::WRITABLE, || {
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&sockets)) {
            return Err(io::Error::other(
                "there are too many listeners to hand over",
            ));
        }
        let text = [IoSlice::new(text.as_bytes())];
        Ok(rustix::net::sendmsg(
            &*next,
            &text,
            &mut control,
            SendFlags::NOSIGNAL,
        )?)
    });
    let sent = timeout(PATIENCE, sent).await??;
    // The sockets went with the first byte; the text is short, but nothing says it went whole.
    timeout(
        PATIENCE,
        next.write_all(text.as_bytes().get(sent..).unwrap_or_default()),
    )
    .await??;
    expect(next, "ready").await
}

/// The gateway that runs, which gave its listeners.
struct Running {
    stream: UnixStream,
    listeners: Listeners,
}

impl Running {
    /// Asks for the listeners. `None` where nobody listens at `path`.
    async fn ask(path: &Path) -> io::Result<Option<Self>> {
        for _ in 1..ASKED {
            match Self::ask_once(path).await {
                // Another one came first: now it is the one to ask.
                Err(error) if is_cut_off(&error) => {}
                asked => return asked,
            }
        }
        Self::ask_once(path).await
    }

    async fn ask_once(path: &Path) -> io::Result<Option<Self>> {
        let mut stream = match UnixStream::connect(path).await {
            Ok(stream) => stream,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                tracing::info!(path = %path.display(), "no gateway answers here: nothing to replace");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        check_user(&stream)?;
        tracing::info!(path = %path.display(), "asking the running gateway for its listeners");
        timeout(PATIENCE, stream.write_all(b"replace\n")).await??;
        let listeners = timeout(PATIENCE, receive(&stream)).await??;
        Ok(Some(Self { stream, listeners }))
    }

    /// Tells it that its listeners are served. Gives how many endpoints had a receiver there.
    async fn send_away(mut self) -> usize {
        let told = async {
            timeout(PATIENCE, self.stream.write_all(b"ready\n")).await??;
            let word = line(&mut self.stream).await?;
            let number = word.strip_prefix(DRAINING).and_then(|n| n.parse().ok());
            number.ok_or_else(|| unexpected(DRAINING, &word))
        };
        match told.await {
            Ok(endpoints) => {
                tracing::info!("took over the listeners; the gateway before drains");
                endpoints
            }
            Err(error) => {
                tracing::warn!(%error, "the gateway before did not say that it drains");
                0
            }
        }
    }
}

/// True where the other end went away without a word.
fn is_cut_off(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof
    )
}

/// Reads the names of the listeners, and the sockets with them.
async fn receive(stream: &UnixStream) -> io::Result<Listeners> {
    let mut text = Vec::new();
    let mut sockets: Vec<OwnedFd> = Vec::new();
    while !text.ends_with(b"\n") {
        let mut part = [0; 4096];
        let read = stream
            .async_io(Interest::READABLE, || {
                let mut space =
                    vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
                let mut control = RecvAncillaryBuffer::new(&mut space);
                let flags = RecvFlags::CMSG_CLOEXEC;
                let mut into = [IoSliceMut::new(&mut part)];
                let message = rustix::net::recvmsg(stream, &mut into, &mut control, flags)?;
                for message in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(more) = message {
                        sockets.extend(more);
                    }
                }
                Ok(message.bytes)
            })
            .await?;
        text.extend_from_slice(part.get(..read).unwrap_or_default());
        if text.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if read == 0 || text.len() > 4096 {
            return Err(io::Error::other("it did not name its listeners"));
        }
    }
    let text = String::from_utf8_lossy(&text);
    let mut sockets = sockets.into_iter().map(TcpListener::from);
    let mut listeners = Listeners::default();
    for name in text.split_whitespace() {
        let socket = sockets.next();
        let socket = socket.ok_or_else(|| io::Error::other("a listener is missing"))?;
        match name {
            "public" => listeners.public.push(socket),
            "tunnel" => listeners.tunnel = Some(socket),
            "admin" => listeners.admin = Some(socket),
            // Of a later version: it stays with the gateway before.
            _ => {}
        }
    }
    Ok(listeners)
}

/// Refuses who is neither root nor this process's user.
fn check_user(peer: &UnixStream) -> io::Result<()> {
    let (theirs, ours) = (peer.peer_cred()?.uid(), rustix::process::geteuid().as_raw());
    if theirs == ours || theirs == 0 {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("user {theirs} is neither root nor user {ours}"),
    ))
}

/// Reads one line, which must be `word`.
async fn expect(stream: &mut UnixStream, word: &str) -> io::Result<()> {
    let line = line(stream).await?;
    match line == word {
        true => Ok(()),
        false => Err(unexpected(word, &line)),
    }
}

/// Reads one short line.
async fn line(stream: &mut UnixStream) -> io::Result<String> {
    let read = async {
        let mut line = Vec::new();
        while line.len() < 64 {
            match stream.read_u8().await? {
                b'\n' => break,
                byte => line.push(byte),
            }
        }
        io::Result::Ok(line)
    };
    let line = timeout(PATIENCE, read).await??;
    Ok(line.escape_ascii().to_string())
}

fn unexpected(word: &str, line: &str) -> io::Error {
    io::Error::other(format!("expected \"{word}\", found \"{line}\""))
}
