//! From the threads that carry tunnels to the event loop, without the GIL.
//!
//! ```text
//!   worker ─ take ─┐                                            ┌─▶ new requests
//!   worker ─ wake ─┼─▶ queue (one lock) ── one byte a batch ──▶ loop ─▶ streams that go on
//!   runner ─ tell ─┘                                            └─▶ notices
//! ```

use std::{
    io::{self, Read as _, Write as _},
    os::{fd::AsRawFd as _, unix::net::UnixStream},
    sync::Arc,
};

use anp_receiver::{Incoming, TakeStreams};
use parking_lot::Mutex;

/// What waits for the loop; `W` is what a stream wakes.
pub(crate) struct Batch<W> {
    /// Requests that nobody has seen yet.
    pub(crate) incoming: Vec<Incoming>,
    /// Those whose stream has something new to say.
    pub(crate) woken: Vec<Arc<W>>,
    /// What became of tunnels and of the receiver.
    pub(crate) notices: Vec<Notice>,
}

impl<W> Default for Batch<W> {
    fn default() -> Self {
        Self {
            incoming: Vec::new(),
            woken: Vec::new(),
            notices: Vec::new(),
        }
    }
}

/// News of a receiver.
#[derive(Debug)]
pub(crate) enum Notice {
    /// A tunnel takes requests.
    Ready {
        /// The gateway's address.
        gateway: String,
        /// Which of its tunnels.
        tunnel: u16,
    },
    /// A gateway said where callers reach the receiver.
    Granted {
        /// The gateway's address.
        gateway: String,
        /// The URLs.
        urls: Vec<String>,
    },
    /// There is no tunnel in a place for now.
    Lost {
        /// The gateway's address.
        gateway: String,
        /// Which of its tunnels.
        tunnel: u16,
        /// Why, and when the next attempt follows.
        reason: String,
    },
    /// The receiver ended; an error says why, unless it was told to.
    Ended(Result<(), String>),
}

/// The queue of one receiver.
pub(crate) struct Bridge<W> {
    queue: Mutex<Queue<W>>,
    /// A byte in it wakes the loop.
    write: UnixStream,
    read: UnixStream,
}

struct Queue<W> {
    batch: Batch<W>,
    /// The loop was woken and has not taken the batch since.
    signalled: bool,
    /// There is no loop any more.
    closed: bool,
}

impl<W> Bridge<W> {
    /// An empty queue.
    ///
    /// # Errors
    /// The system gave no more descriptors.
    pub(crate) fn new() -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        write.set_nonblocking(true)?;
        Ok(Self {
            queue: Mutex::new(Queue {
                batch: Batch::default(),
                signalled: false,
                closed: false,
            }),
            write,
            read,
        })
    }

    /// The descriptor that becomes readable when something waits.
    pub(crate) fn descriptor(&self) -> i32 {
        self.read.as_raw_fd()
    }

    /// Takes everything that waits; `spare` is what the next batch is gathered in.
    pub(crate) fn take(&self, spare: Batch<W>) -> Batch<W> {
        let mut bytes = [0; 64];
        // Before the batch is taken: whoever adds to the next one writes a byte again.
        let _ = (&self.read).read(&mut bytes);
        let mut queue = self.queue.lock();
        queue.signalled = false;
        std::mem::replace(&mut queue.batch, spare)
    }

    /// Takes nothing any more, and lets go of what waits: nobody will come for it, and it holds the
    /// app.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut queue = self.queue.lock();
            queue.closed = true;
            std::mem::take(&mut queue.batch)
        };
        // Behind the lock: what it ends may come back here.
        drop(waiting);
    }

    /// Tells of something that became of the receiver.
    pub(crate) fn tell(&self, notice: Notice) {
        self.add(|batch| batch.notices.push(notice));
    }

    /// Has the loop look at `woken`.
    pub(crate) fn wake(&self, woken: Arc<W>) {
        self.add(|batch| batch.woken.push(woken));
    }

    fn add(&self, add: impl FnOnce(&mut Batch<W>)) {
        let signalled = {
            let mut queue = self.queue.lock();
            if queue.closed {
                drop(queue);
                return drop(add);
            }
            add(&mut queue.batch);
            std::mem::replace(&mut queue.signalled, true)
        };
        if !signalled {
            // A full socket holds bytes enough to wake the loop; a closed one has no loop.
            let _ = (&self.write).write(&[1]);
        }
    }
}

impl<W: Send + Sync + 'static> TakeStreams for Bridge<W> {
    fn take(&self, incoming: Incoming) {
        self.add(|batch| batch.incoming.push(incoming));
    }
}
