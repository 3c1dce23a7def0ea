//! One request and its response, between the loop and a tunnel; and what those of one receiver share.

use std::{
    fmt, mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use anp_tunnel::{RecvStream, SendStream};
use anpx::{RequestHead, ResetCode, ResponseHead};
use bytes::Bytes;
use parking_lot::Mutex;
use pyo3::{exceptions::PyException, intern, prelude::*};

use crate::{
    bridge::Bridge,
    env::{Env, Slot},
    event::Sent,
    fields::Headers,
    http::Http,
    outgoing::{Outgoing, Tail},
    refusal::Refusal,
    scope::Kind,
    websocket::WebSocket,
};

/// What all exchanges of a receiver share. Everything but the bridge is used with the GIL only.
pub(crate) struct Exchanges {
    pub(crate) env: Env,
    pub(crate) bridge: Arc<Bridge<Exchange>>,
    /// Most bytes of a WebSocket message.
    max_message: usize,
    /// Responses of this batch of requests go out together.
    batching: AtomicBool,
    batch: Mutex<Vec<Arc<Exchange>>>,
}

impl Exchanges {
    pub(crate) fn new(env: Env, bridge: Arc<Bridge<Exchange>>, max_message: usize) -> Self {
        Self {
            env,
            bridge,
            max_message,
            batching: AtomicBool::new(false),
            batch: Mutex::default(),
        }
    }

    /// From now on responses wait for [`Exchanges::end_batch`].
    pub(crate) fn begin_batch(&self) {
        self.batching.store(true, Ordering::Relaxed);
    }

    /// Takes `exchange` into the batch; false where there is none.
    fn batch(&self, exchange: &Arc<Exchange>) -> bool {
        let batching = self.batching.load(Ordering::Relaxed);
        if batching {
            self.batch.lock().push(Arc::clone(exchange));
        }
        batching
    }

    /// Sends what the batch gathered, and has those go on that it was too much for.
    pub(crate) fn end_batch(&self, py: Python<'_>) {
        self.batching.store(false, Ordering::Relaxed);
        let mut batch = mem::take(&mut *self.batch.lock());
        for exchange in batch.drain(..) {
            exchange.flush();
            if !exchange.is_full() {
                exchange.go_on(py);
            }
        }
        // Its room serves the next one.
        *self.batch.lock() = batch;
    }
}

/// What belongs to one request. Used on the loop's thread; other threads only wake it.
///
/// The lock is held for no call into Python: whatever an object's end runs may come back here.
pub(crate) struct Exchange {
    all: Arc<Exchanges>,
    /// The loop was asked to look at it.
    woken: AtomicBool,
    state: Mutex<State>,
    name: Name,
}

/// What the log calls a request.
struct Name {
    method: Bytes,
    target: Bytes,
    request_id: Bytes,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [method, target, id] = [&self.method, &self.target, &self.request_id];
        write!(
            f,
            "{} {} ({})",
            method.escape_ascii(),
            target.escape_ascii(),
            id.escape_ascii()
        )
    }
}

/// The state under the lock.
pub(crate) struct State {
    pub(crate) recv: Option<RecvStream>,
    pub(crate) out: Outgoing,
    protocol: Protocol,
    /// Futures of `receive()` and `send()` calls that wait.
    waiting: Vec<Py<PyAny>>,
    slot: Option<Slot>,
    /// A `receive` waits, or waited until it was told that the caller left.
    listens: bool,
    over: bool,
}

enum Protocol {
    Http(Http),
    WebSocket(Box<WebSocket>),
}

impl Wake for Exchange {
    fn wake(self: Arc<Self>) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            let all = Arc::clone(&self.all);
            all.bridge.wake(self);
        }
    }
}

impl Exchange {
    /// The exchange of the request `head`.
    pub(crate) fn new(
        all: &Arc<Exchanges>,
        head: &RequestHead,
        mut body: RecvStream,
        response: SendStream,
    ) -> (Arc<Self>, Kind) {
        let (protocol, kind) = match WebSocket::asked(head, all.max_message) {
            Some(socket) => (Protocol::WebSocket(Box::new(socket)), Kind::WebSocket),
            None => {
                let (http, chunked) = Http::new(head, &mut body);
                (Protocol::Http(http), Kind::Http { chunked })
            }
        };
        let exchange = Arc::new(Self {
            all: Arc::clone(all),
            woken: AtomicBool::new(false),
            state: Mutex::new(State {
                recv: Some(body),
                out: Outgoing::new(response),
                protocol,
                waiting: Vec::new(),
                slot: None,
                listens: false,
                over: false,
            }),
            name: Name {
                method: head.method.clone(),
                target: head.target.clone(),
                request_id: head.request_id.clone(),
            },
        });
        (exchange, kind)
    }

    /// Keeps `task`, which runs the app, until it is over.
    pub(crate) fn keep(&self, task: Py<PyAny>) {
        let mut state = self.state.lock();
        // One that is started at once may be over before it is known here.
        if !state.over {
            state.slot = Some(self.all.env.keep(task));
        }
    }

    /// The next event for the app, where it is there.
    pub(crate) fn poll_receive(self: &Arc<Self>, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let waker = Waker::from(Arc::clone(self));
        let cx = &mut Context::from_waker(&waker);
        let event = {
            let state = &mut *self.state.lock();
            let (recv, out) = (&mut state.recv, &mut state.out);
            match &mut state.protocol {
                Protocol::Http(http) => http.poll_receive(recv, out, cx),
                Protocol::WebSocket(socket) => socket.poll_receive(recv, out, cx),
            }
        };
        match event {
            Poll::Ready(event) => event.into_python(py).map(Some),
            Poll::Pending => {
                self.state.lock().listens = true;
                Ok(None)
            }
        }
    }

    /// The `receive` that waited was ended by its task.
    pub(crate) fn stop_listening(&self) {
        self.state.lock().listens = false;
    }

    /// Whether part of the app is told by `receive` when the caller leaves.
    pub(crate) fn listens(&self) -> bool {
        self.state.lock().listens
    }

    /// A future that is done once something happened.
    pub(crate) fn wait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let future = self.all.env.create_future(py)?;
        // Only the loop's thread comes here: nobody sees that they are gone meanwhile.
        let mut waiting = mem::take(&mut self.state.lock().waiting);
        if waiting.len() >= MANY_WAITING {
            // Those that were cancelled, as each look for a disconnect may be.
            waiting.retain(|future| !is_done(py, future).unwrap_or(true));
        }
        waiting.push(future.clone_ref(py));
        self.state.lock().waiting = waiting;
        Ok(future)
    }

    /// True while the app should not send more.
    pub(crate) fn is_full(&self) -> bool {
        self.state.lock().out.is_full()
    }

    /// Takes an event of the app.
    pub(crate) fn send(self: &Arc<Self>, sent: Sent) -> Result<(), Refusal> {
        let state = &mut *self.state.lock();
        match &mut state.protocol {
            Protocol::Http(http) => http.send(&mut state.out, sent)?,
            Protocol::WebSocket(socket) => socket.send(&mut state.out, sent)?,
        }
        if !self.all.batch(self) {
            self.flush_state(state);
        }
        Ok(())
    }

    /// What `send` returns where there is nothing to wait for.
    pub(crate) fn done(&self, py: Python<'_>) -> Py<PyAny> {
        self.all.env.done.clone_ref(py).into_any()
    }

    /// What `send` returns where the caller left and part of the app is told so.
    pub(crate) fn gone(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        // That part looks now: the wake-up of the tunnel's thread may be on its way still.
        self.go_on(py);
        self.all.env.gone.call0(py)
    }

    /// Gives the tunnel what waits.
    pub(crate) fn flush(self: &Arc<Self>) {
        self.flush_state(&mut self.state.lock());
    }

    fn flush_state(self: &Arc<Self>, state: &mut State) {
        let waker = Waker::from(Arc::clone(self));
        let cx = &mut Context::from_waker(&waker);
        match &mut state.protocol {
            Protocol::Http(http) => {
                state.out.flush(cx);
                // The rest of the request is not wanted.
                if http.is_complete() && state.out.is_over() {
                    state.recv = None;
                }
            }
            Protocol::WebSocket(socket) => socket.pump(&mut state.recv, &mut state.out, cx),
        }
    }

    /// Something happened on the stream.
    pub(crate) fn woken(self: &Arc<Self>, py: Python<'_>) {
        self.woken.store(false, Ordering::Release);
        self.flush();
        self.go_on(py);
    }

    /// Has the calls look again that wait.
    pub(crate) fn go_on(&self, py: Python<'_>) {
        let waiting = mem::take(&mut self.state.lock().waiting);
        for future in waiting {
            let resolved = (|| {
                if is_done(py, &future)? {
                    return Ok(());
                }
                future.call_method1(py, intern!(py, "set_result"), (py.None(),))?;
                Ok::<_, PyErr>(())
            })();
            if let Err(error) = resolved {
                // The loop is closed: nobody waits any more.
                error.write_unraisable(py, None);
            }
        }
    }

    /// The app's call is over: it returned, or raised `error`. Whatever it left undone is ended.
    /// Gives the error back where it is for whoever runs the task.
    pub(crate) fn finish(self: &Arc<Self>, py: Python<'_>, error: Option<PyErr>) -> PyResult<()> {
        let (slot, gone, unanswered, complete) = {
            let state = &mut *self.state.lock();
            state.over = true;
            let (unanswered, complete) = match &state.protocol {
                Protocol::Http(http) => (!http.is_begun(), http.is_complete()),
                Protocol::WebSocket(socket) => (!socket.is_answered(), socket.is_complete()),
            };
            (
                state.slot.take(),
                state.out.is_broken(),
                unanswered,
                complete,
            )
        };
        // An app may leave an open WebSocket: that is how it closes it.
        let left = error.is_none() && !gone && self.closes_websocket(1000);
        let failure = match &error {
            None if complete || gone || left => None,
            None if unanswered => Some("returned without a response"),
            None => Some("returned before its response was whole"),
            Some(error) if !error.is_instance_of::<PyException>(py) => Some("was ended"),
            Some(_) => Some("raised an exception"),
        };
        let passed = match error {
            Some(error) if !error.is_instance_of::<PyException>(py) => Some(error),
            Some(error) => {
                // Of an app that writes to a caller that left, an error is to be expected.
                if !gone {
                    self.complain(py, "raised an exception", Some(&error));
                }
                None
            }
            None => {
                if let Some(failure) = failure {
                    self.complain(py, failure, None);
                }
                None
            }
        };
        if failure.is_some() {
            self.fail(unanswered, complete, passed.is_some());
        }
        if let Some(slot) = slot {
            self.all.env.let_go(slot);
        }
        self.linger(py)?;
        passed.map_or(Ok(()), Err)
    }

    fn complain(&self, py: Python<'_>, what: &str, error: Option<&PyErr>) {
        let message = format!("the app {what}: {}", self.name);
        self.all.env.log(py, message, error);
    }

    /// Closes the WebSocket that its app leaves open, with `code`. True where it was one.
    fn closes_websocket(self: &Arc<Self>, code: u16) -> bool {
        let state = &mut *self.state.lock();
        match &mut state.protocol {
            Protocol::WebSocket(socket) if socket.is_open() => {
                socket.close(&mut state.out, code, "");
                self.flush_state(state);
                true
            }
            _ => false,
        }
    }

    /// Ends what the app left undone.
    fn fail(self: &Arc<Self>, unanswered: bool, complete: bool, ended: bool) {
        if complete {
            return;
        }
        if self.closes_websocket(if ended { 1012 } else { 1011 }) {
            return;
        }
        let state = &mut *self.state.lock();
        if unanswered && !ended {
            const TEXT: &str = "Internal Server Error";
            let headers = Headers::ours(&[
                ("content-type", "text/plain; charset=utf-8"),
                ("content-length", "21"),
            ]);
            let no_body = matches!(&state.protocol, Protocol::Http(http) if http.is_head());
            state.out.respond(ResponseHead {
                status: 500,
                headers: headers.build(),
            });
            if !no_body {
                state.out.push(Bytes::from_static(TEXT.as_bytes()));
            }
            state.out.finish(Tail::End);
            match &mut state.protocol {
                Protocol::Http(http) => http.complete(),
                Protocol::WebSocket(socket) => socket.complete(),
            }
            self.flush_state(state);
        } else {
            state.out.reset(ResetCode::INTERNAL);
            state.recv = None;
        }
    }

    /// A WebSocket that was closed from here waits for the caller's close, for a while.
    fn linger(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        const PATIENCE: f64 = 5.0;
        let lingers = {
            let state = self.state.lock();
            matches!(&state.protocol, Protocol::WebSocket(socket) if socket.is_answered())
                && state.recv.is_some()
        };
        if lingers {
            let end = Py::new(py, Abort(Arc::clone(self)))?;
            self.all.env.call_later(py, PATIENCE, end.into_any())?;
        }
        Ok(())
    }
}

/// More futures than an app has calls that wait, most often.
const MANY_WAITING: usize = 8;

fn is_done(py: Python<'_>, future: &Py<PyAny>) -> PyResult<bool> {
    future.call_method0(py, intern!(py, "done"))?.is_truthy(py)
}

/// Ends an exchange, whatever of it is left.
#[pyclass(frozen, module = "anp_proxy._core")]
struct Abort(Arc<Exchange>);

#[pymethods]
impl Abort {
    fn __call__(&self) {
        let state = &mut *self.0.state.lock();
        if !state.out.is_over() {
            state.out.reset(ResetCode::INTERNAL);
        }
        state.recv = None;
    }
}
