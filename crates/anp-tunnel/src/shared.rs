//! What the driver and the handles of a tunnel share: the session, and who waits for it.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering, fence},
    },
    task::Waker,
    time::{Duration, Instant},
};

use anpx::{
    CloseCode, StreamError,
    session::{Event, Session, StreamId},
};
use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};

use crate::{
    config::Version,
    status::{Observer, Status},
};

/// Shared by a driver and its handles. One lock: a stream's calls are short, and on a worker of
/// one thread it is never contended.
pub(crate) struct Shared {
    state: Mutex<State>,
    status: AtomicU8,
    open_streams: AtomicUsize,
    capacity: AtomicUsize,
    /// Bytes of the connection, WebSocket framing included; only the driver adds to them.
    pub(crate) received: AtomicU64,
    pub(crate) sent: AtomicU64,
    observer: Option<Arc<dyn Observer>>,
}

/// The state under the lock.
pub(crate) struct State {
    /// `None` while a receiver does not know the version yet.
    pub(crate) session: Option<Session>,
    pub(crate) version: Version,
    waiting: HashMap<StreamId, Waiting>,
    pub(crate) accept_waker: Option<Waker>,
    pub(crate) driver_waker: Option<Waker>,
    /// The driver was woken and has not run since, or is running: nobody need wake it.
    pub(crate) driver_awake: bool,
    pub(crate) close_request: Option<(CloseCode, Cow<'static, str>)>,
    pub(crate) drain_requested: bool,
    pub(crate) round_trip: Option<Duration>,
    /// The peer showed that it speaks the protocol.
    pub(crate) was_ready: bool,
    pub(crate) ended: bool,
}

/// The handles on one stream and what they wait for.
#[derive(Default)]
pub(crate) struct Waiting {
    reader: Option<Waker>,
    writer: Option<Waker>,
    handles: u8,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(
        session: Option<Session>,
        version: Version,
        observer: Option<Arc<dyn Observer>>,
    ) -> Self {
        let state = State {
            session,
            version,
            waiting: HashMap::new(),
            accept_waker: None,
            driver_waker: None,
            driver_awake: false,
            close_request: None,
            drain_requested: false,
            round_trip: None,
            was_ready: false,
            ended: false,
        };
        Self {
            state: Mutex::new(state),
            status: AtomicU8::new(Status::Opening as u8),
            open_streams: AtomicUsize::new(0),
            capacity: AtomicUsize::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            observer,
        }
    }

    pub(crate) fn status(&self) -> Status {
        Status::from_u8(self.status.load(Ordering::Relaxed))
    }

    pub(crate) fn open_streams(&self) -> usize {
        self.open_streams.load(Ordering::Relaxed)
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity.load(Ordering::Relaxed)
    }

    /// Moves the status on; it never goes back.
    pub(crate) fn set_status(&self, status: Status) {
        let before = self.status.fetch_max(status as u8, Ordering::Relaxed);
        if before < status as u8
            && let Some(observer) = &self.observer
        {
            observer.status(status);
        }
    }

    /// Runs `call` under the lock, then delivers what the session had to say: wakes streams, the
    /// acceptor and, unless it is the caller, the driver. Streams and the acceptor are woken behind the
    /// lock: with such a waker a stream's last owner may go, whose handles come back here.
    pub(crate) fn with<T>(&self, call: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let result = call(&mut state);
        if state.has_news() {
            self.deliver(state);
            return result;
        }
        // As after most calls.
        self.publish(&state);
        if state.needs_driver() {
            state.driver_awake = true;
            if let Some(driver) = &state.driver_waker {
                driver.wake_by_ref();
            }
        }
        result
    }

    /// Delivers the session's news, and lets go of the lock.
    fn deliver(&self, mut state: MutexGuard<'_, State>) {
        let mut notices = Notices::default();
        let mut woken = Woken::default();
        while state.has_news() {
            state.deliver(&mut notices, &mut woken);
            if woken.is_full() {
                MutexGuard::unlocked(&mut state, || woken.wake());
            }
        }
        self.publish(&state);
        let mut driver = None;
        if state.needs_driver() {
            state.driver_awake = true;
            driver.clone_from(&state.driver_waker);
        }
        drop(state);
        woken.wake();
        // After the streams, whose frames it then writes with the rest.
        if let Some(driver) = driver {
            driver.wake();
        }
        if let Some(status) = notices.status {
            self.set_status(status);
        }
        if notices.capacity
            && let Some(observer) = &self.observer
        {
            // The places are to be seen by whom the observer does not see waiting yet.
            fence(Ordering::SeqCst);
            observer.capacity();
        }
    }

    /// Lets those see it who take no lock.
    fn publish(&self, state: &State) {
        if let Some(session) = &state.session {
            self.open_streams
                .store(session.open_streams(), Ordering::Relaxed);
            self.capacity.store(session.capacity(), Ordering::Relaxed);
        }
    }
}

/// For the driver.
impl Shared {
    /// The connection is gone: everybody learns of it.
    pub(crate) fn end(&self) {
        let acceptor = self.with(State::end);
        if let Some(acceptor) = acceptor {
            acceptor.wake();
        }
        self.set_status(Status::Closed);
    }

    /// The driver runs: until it sleeps nobody need wake it.
    pub(crate) fn driver_runs(&self, waker: &Waker) {
        let mut state = self.state.lock();
        state.driver_awake = true;
        set(&mut state.driver_waker, waker);
    }

    /// The driver has nothing to do, unless something came up since: then `None`. Else the
    /// session's next deadline. With a `full` write buffer the socket wakes the driver, and the
    /// streams need not.
    #[expect(
        clippy::option_option,
        reason = "the inner one is the session's own answer"
    )]
    pub(crate) fn driver_sleeps(&self, full: bool) -> Option<Option<Instant>> {
        let mut state = self.state.lock();
        state.driver_awake = full;
        if state.needs_driver() {
            state.driver_awake = true;
            return None;
        }
        Some(state.session.as_ref().and_then(Session::poll_timeout))
    }
}

/// What to tell the observer.
#[derive(Default)]
struct Notices {
    status: Option<Status>,
    capacity: bool,
}

/// Those to wake at once behind the lock: few, so that they need no memory of their own.
#[derive(Default)]
struct Woken([Option<Waker>; 4]);

impl Woken {
    /// Takes one more; not of a full one.
    fn add(&mut self, waker: Waker) {
        if let Some(place) = self.0.iter_mut().find(|place| place.is_none()) {
            *place = Some(waker);
        }
    }

    fn is_full(&self) -> bool {
        self.0.iter().all(Option::is_some)
    }

    fn wake(&mut self) {
        for waker in self.0.iter_mut().filter_map(Option::take) {
            waker.wake();
        }
    }
}

impl State {
    fn has_news(&self) -> bool {
        self.session.as_ref().is_some_and(Session::has_events)
    }

    /// Gathers whom the session's events concern, until `woken` is full.
    fn deliver(&mut self, notices: &mut Notices, woken: &mut Woken) {
        let Some(session) = &mut self.session else {
            return;
        };
        while !woken.is_full()
            && let Some(event) = session.poll_event()
        {
            let waker = match event {
                Event::Readable(id) => self.waiting.get_mut(&id).and_then(|w| w.reader.take()),
                Event::Writable(id) => self.waiting.get_mut(&id).and_then(|w| w.writer.take()),
                Event::Incoming => self.accept_waker.take(),
                Event::Capacity => {
                    notices.capacity = true;
                    None
                }
                Event::Established => {
                    self.was_ready = true;
                    notices.status = notices.status.max(Some(Status::Ready));
                    None
                }
                Event::Draining => {
                    notices.status = Some(Status::Draining);
                    None
                }
            };
            if let Some(waker) = waker {
                woken.add(waker);
            }
        }
    }

    fn needs_driver(&self) -> bool {
        // A close is for now, even while the connection takes no bytes.
        if self.ended || self.close_request.is_some() {
            return !self.ended;
        }
        let session = self.session.as_ref();
        !self.driver_awake && session.is_some_and(|s| self.drain_requested || s.wants_transmit())
    }

    /// The session of a stream, which exists since streams do.
    pub(crate) fn session(&mut self) -> Result<&mut Session, StreamError> {
        self.session
            .as_mut()
            .ok_or(StreamError::SessionEnded { written: false })
    }

    /// Notes the two handles on a new stream.
    pub(crate) fn add_handles(&mut self, id: StreamId) {
        self.waiting.insert(
            id,
            Waiting {
                handles: 2,
                ..Waiting::default()
            },
        );
    }

    /// A handle was dropped; with the last one the application is done with the stream. What waited
    /// on it is given back, to be dropped behind the lock.
    pub(crate) fn drop_handle(&mut self, id: StreamId) -> Option<Waiting> {
        let waiting = self.waiting.get_mut(&id)?;
        waiting.handles -= 1;
        if waiting.handles > 0 {
            return None;
        }
        if let Some(session) = &mut self.session {
            session.release(id);
        }
        self.waiting.remove(&id)
    }

    pub(crate) fn wait_read(&mut self, id: StreamId, waker: &Waker) {
        if let Some(waiting) = self.waiting.get_mut(&id) {
            set(&mut waiting.reader, waker);
        }
    }

    pub(crate) fn wait_write(&mut self, id: StreamId, waker: &Waker) {
        if let Some(waiting) = self.waiting.get_mut(&id) {
            set(&mut waiting.writer, waker);
        }
    }

    pub(crate) fn wait_accept(&mut self, waker: &Waker) {
        set(&mut self.accept_waker, waker);
    }

    /// The connection is gone. Who waits for streams is given back, to be woken behind the lock.
    fn end(&mut self) -> Option<Waker> {
        self.ended = true;
        if let Some(session) = &mut self.session {
            session.end();
        }
        self.accept_waker.take()
    }
}

/// Stores a waker, without a clone where it is there already.
pub(crate) fn set(slot: &mut Option<Waker>, waker: &Waker) {
    match slot {
        Some(stored) => stored.clone_from(waker),
        None => *slot = Some(waker.clone()),
    }
}
