//! What the two gateways say to each other.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::TcpListener,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
    time::Duration,
};

use anp_gateway::Listeners;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest},
    net::UnixStream,
    time::timeout,
};

/// Most sockets in one message: the system takes 253 (SCM_MAX_FD).
const MAX_SOCKETS: usize = 250;

/// How long either side may take for its next word.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often one asks that is cut off.
const ASKED: usize = 3;

/// The last word of the running one, without the number behind it.
const DRAINING: &str = "draining ";

/// Gives `next` the listeners. It serves them from then on, where this is true; false where it went
/// away without a word.
///
/// # Errors
/// It may not have them, or went away later: nothing has changed.
pub(super) async fn hand_to(next: &mut UnixStream, listeners: &Listeners) -> io::Result<bool> {
    check_user(next)?;
    match expect(next, "replace").await {
        Err(error) if is_cut_off(&error) => return Ok(false),
        asked => asked?,
    }
    let public = listeners.public.iter().map(|l| ("public", l));
    let tunnel = listeners.tunnel.iter().map(|l| ("tunnel", l));
    let redirect = listeners.redirect.iter().map(|l| ("redirect", l));
    let admin = listeners.admin.iter().map(|l| ("admin", l));
    let all: Vec<_> = public.chain(tunnel).chain(redirect).chain(admin).collect();
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
    expect(next, "ready").await?;
    Ok(true)
}

/// Tells `next` that this gateway drains, and how many endpoints have a receiver here.
pub(super) async fn say_draining(next: &mut UnixStream, endpoints: usize) {
    let word = format!("{DRAINING}{endpoints}\n");
    // One that is gone does not hear it.
    let _ = timeout(PATIENCE, next.write_all(word.as_bytes())).await;
}

/// The gateway that runs, which gave its listeners.
pub(super) struct Running {
    stream: UnixStream,
    pub(super) listeners: Listeners,
}

impl Running {
    /// Asks for the listeners. `None` where nobody listens at `path`.
    ///
    /// # Errors
    /// They were not given.
    pub(super) async fn ask(path: &Path) -> io::Result<Option<Self>> {
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
    pub(super) async fn send_away(mut self) -> usize {
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
    let mut listeners = Listeners {
        handed_over: true,
        ..Listeners::default()
    };
    for name in text.split_whitespace() {
        let socket = sockets.next();
        let socket = socket.ok_or_else(|| io::Error::other("a listener is missing"))?;
        match name {
            "public" => listeners.public.push(socket),
            "tunnel" => listeners.tunnel = Some(socket),
            "redirect" => listeners.redirect = Some(socket),
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
