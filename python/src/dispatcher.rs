//! The loop's side of a receiver: turns what waits in the bridge into tasks and wake-ups.

use std::{mem, sync::Arc};

use anp_receiver::Incoming;
use parking_lot::Mutex;
use pyo3::{prelude::*, types::PyDict};

use crate::{
    awaitable::{ReceiveCall, SendCall},
    bridge::{Batch, Bridge, Notice},
    env::Env,
    exchange::{Exchange, Exchanges},
    run::Run,
    scope::Scopes,
};

/// Calls an ASGI app for the requests of a receiver. Belongs to one event loop.
#[pyclass(frozen, module = "anp_proxy._core")]
pub(crate) struct Dispatcher {
    exchanges: Arc<Exchanges>,
    scopes: Scopes,
    /// Room of the last batch.
    spare: Mutex<Batch<Exchange>>,
    call_soon: Py<PyAny>,
    /// `notify(kind, ...)`, told what became of tunnels.
    notify: Py<PyAny>,
}

#[pymethods]
impl Dispatcher {
    #[new]
    #[pyo3(signature = (app, event_loop, *, create_task, gone, log, notify, state, root_path, max_message))]
    #[expect(clippy::too_many_arguments, reason = "each has a name in Python")]
    fn new(
        app: Py<PyAny>,
        event_loop: &Bound<'_, PyAny>,
        create_task: Py<PyAny>,
        gone: Py<PyAny>,
        log: Py<PyAny>,
        notify: Py<PyAny>,
        state: Option<Py<PyDict>>,
        root_path: String,
        max_message: usize,
    ) -> PyResult<Self> {
        let bridge = Arc::new(Bridge::new()?);
        let env = Env::new(app, event_loop, create_task, gone, log)?;
        Ok(Self {
            exchanges: Arc::new(Exchanges::new(env, bridge, max_message)),
            scopes: Scopes::new(event_loop.py(), state, root_path)?,
            spare: Mutex::default(),
            call_soon: event_loop.getattr("call_soon")?.unbind(),
            notify,
        })
    }

    /// The descriptor that becomes readable when `drain` has something to do.
    fn fileno(&self) -> i32 {
        self.exchanges.bridge.descriptor()
    }

    /// Does what waits.
    fn drain(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let spare = mem::take(&mut *this.spare.lock());
        let mut batch = this.exchanges.bridge.take(spare);
        if batch.incoming.len() > 1 {
            // The tasks made here run in this order before this call: what they answer at once goes
            // out at once.
            this.exchanges.begin_batch();
        }
        let together = batch.incoming.len() > 1;
        // What fails for one must not be lost for the others.
        for incoming in batch.incoming.drain(..) {
            if let Err(error) = this.start(py, incoming) {
                let message = "a request could not be given to the app".to_owned();
                this.exchanges.env.log(py, message, Some(&error));
            }
        }
        for exchange in batch.woken.drain(..) {
            exchange.woken(py);
        }
        let mut done = Ok(());
        if together {
            let soon = slf.getattr("flush");
            done = soon.and_then(|flush| this.call_soon.call1(py, (flush,)).map(drop));
            if done.is_err() {
                this.exchanges.end_batch(py);
            }
        }
        for notice in batch.notices.drain(..) {
            done = done.and(this.tell(py, notice));
        }
        *this.spare.lock() = batch;
        done
    }

    /// Sends what the apps of one batch answered.
    fn flush(&self, py: Python<'_>) {
        self.exchanges.end_batch(py);
    }

    /// Takes no more requests, and lets go of what waits.
    fn close(&self) {
        self.exchanges.bridge.close();
    }

    /// Requests whose app runs.
    fn in_flight(&self) -> usize {
        self.exchanges.env.in_flight()
    }

    /// Requests so far.
    fn requests(&self) -> u64 {
        self.exchanges.env.requests()
    }

    /// The tasks of requests whose app runs.
    fn tasks(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        self.exchanges.env.tasks(py)
    }
}

impl Dispatcher {
    /// The way here from other threads.
    pub(crate) fn bridge(&self) -> Arc<Bridge<Exchange>> {
        Arc::clone(&self.exchanges.bridge)
    }

    /// Has the app run for `incoming`.
    fn start(&self, py: Python<'_>, incoming: Incoming) -> PyResult<()> {
        let env = &self.exchanges.env;
        let Incoming {
            head,
            body,
            response,
        } = incoming;
        let (exchange, kind) = Exchange::new(&self.exchanges, &head, body, response);
        let scope = self.scopes.of(py, &head, kind)?;
        let receive = Py::new(py, ReceiveCall(Arc::clone(&exchange)))?;
        let send = Py::new(py, SendCall(Arc::clone(&exchange)))?;
        let called = env.app.bind(py).call1((scope, receive, send));
        let run = Py::new(py, Run::new(Arc::clone(&exchange), called))?;
        let task = env.create_task(run.into_bound(py).into_any())?;
        exchange.keep(task);
        Ok(())
    }

    fn tell(&self, py: Python<'_>, notice: Notice) -> PyResult<()> {
        match notice {
            Notice::Ready { gateway, tunnel } => {
                self.notify.call1(py, ("ready", gateway, tunnel))?
            }
            Notice::Granted { gateway, urls } => {
                self.notify.call1(py, ("granted", gateway, urls))?
            }
            Notice::Lost {
                gateway,
                tunnel,
                reason,
            } => self.notify.call1(py, ("lost", gateway, tunnel, reason))?,
            Notice::Ended(ended) => self.notify.call1(py, ("ended", ended.err()))?,
        };
        Ok(())
    }
}
