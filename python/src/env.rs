//! The event loop, and the app's tasks in it.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use pyo3::{intern, prelude::*};
use slab::Slab;

use crate::done::Done;

/// The loop, the app and what is kept for both.
pub(crate) struct Env {
    pub(crate) app: Py<PyAny>,
    /// What `send` returns where there is nothing to wait for.
    pub(crate) done: Py<Done>,
    event_loop: Py<PyAny>,
    create_future: Py<PyAny>,
    create_task: Py<PyAny>,
    /// `gone()` gives the awaitable that raises once listeners had their turn.
    pub(crate) gone: Py<PyAny>,
    /// `log(message, exception)`.
    log: Py<PyAny>,
    /// Tasks that run: the loop itself holds them weakly.
    live: Mutex<Slab<Py<PyAny>>>,
    requests: AtomicU64,
}

/// Where a task is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot(usize);

impl Env {
    pub(crate) fn new(
        app: Py<PyAny>,
        event_loop: &Bound<'_, PyAny>,
        create_task: Py<PyAny>,
        gone: Py<PyAny>,
        log: Py<PyAny>,
    ) -> PyResult<Self> {
        let py = event_loop.py();
        Ok(Self {
            app,
            done: Py::new(py, Done)?,
            create_future: event_loop.getattr("create_future")?.unbind(),
            event_loop: event_loop.clone().unbind(),
            create_task,
            gone,
            log,
            live: Mutex::default(),
            requests: AtomicU64::new(0),
        })
    }

    /// A future of the loop.
    pub(crate) fn create_future(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.create_future.call0(py)
    }

    /// Has the loop run `coroutine`.
    pub(crate) fn create_task(&self, coroutine: Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.create_task.call1(coroutine.py(), (coroutine,))
    }

    /// Calls `function` in `seconds`.
    pub(crate) fn call_later(
        &self,
        py: Python<'_>,
        seconds: f64,
        function: Py<PyAny>,
    ) -> PyResult<()> {
        let arguments = (seconds, function);
        self.event_loop
            .call_method1(py, intern!(py, "call_later"), arguments)?;
        Ok(())
    }

    /// Tells the log what went wrong with the app.
    pub(crate) fn log(&self, py: Python<'_>, message: String, error: Option<&PyErr>) {
        let error = error.map(|error| error.value(py).clone());
        if let Err(error) = self.log.call1(py, (message, error)) {
            error.write_unraisable(py, None);
        }
    }

    /// Keeps `task` until it is over.
    pub(crate) fn keep(&self, task: Py<PyAny>) -> Slot {
        Slot(self.live.lock().insert(task))
    }

    /// The task in `slot` is over.
    pub(crate) fn let_go(&self, slot: Slot) {
        // Dropped behind the lock.
        let _task = self.live.lock().try_remove(slot.0);
    }

    /// Every task that runs.
    pub(crate) fn tasks(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        let live = self.live.lock();
        live.iter().map(|(_, task)| task.clone_ref(py)).collect()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.live.lock().len()
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}
