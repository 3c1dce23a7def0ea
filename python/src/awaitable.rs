//! What `receive()` and `send()` return: awaitables that are most often done already.

use std::sync::Arc;

use pyo3::{exceptions::PyStopIteration, prelude::*};

use crate::exchange::Exchange;

/// `await receive()`: takes the next event when it is awaited, not before, so that one that is
/// cancelled takes nothing. A coroutine to asyncio: it can be made a task.
#[pyclass(frozen, module = "anp_proxy._core")]
pub(crate) struct Receive {
    exchange: Arc<Exchange>,
    waiting: parking_lot::Mutex<Option<Py<PyAny>>>,
}

/// `await send(event)`, where the tunnel has more than enough: done once that is no longer so.
#[pyclass(frozen, module = "anp_proxy._core")]
pub(crate) struct Sent {
    exchange: Arc<Exchange>,
    waiting: parking_lot::Mutex<Option<Py<PyAny>>>,
}

/// `await send(event)`, where there is nothing to wait for.
#[pyclass(frozen, module = "anp_proxy._core")]
pub(crate) struct Done;

impl Receive {
    pub(crate) fn new(exchange: Arc<Exchange>) -> Self {
        Self {
            exchange,
            waiting: parking_lot::Mutex::new(None),
        }
    }

    /// One step: what to yield to the loop, or a `StopIteration` with the event.
    fn step(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        step(py, &self.exchange, &self.waiting, |exchange| {
            let event = exchange.poll_receive(py)?;
            Ok(event.map(|event| PyStopIteration::new_err((event,))))
        })
    }

    /// Its task waits no more.
    fn ended(&self) {
        self.exchange.stop_listening();
    }
}

impl Sent {
    /// Nobody listens by it.
    fn ended(&self) {}

    pub(crate) fn new(exchange: Arc<Exchange>) -> Self {
        Self {
            exchange,
            waiting: parking_lot::Mutex::new(None),
        }
    }

    fn step(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        step(py, &self.exchange, &self.waiting, |exchange| {
            Ok((!exchange.is_full()).then(|| PyStopIteration::new_err(())))
        })
    }
}

/// Polls; where there is nothing yet, waits in a future of the loop until the exchange was woken.
fn step(
    py: Python<'_>,
    exchange: &Arc<Exchange>,
    waiting: &parking_lot::Mutex<Option<Py<PyAny>>>,
    poll: impl Fn(&Arc<Exchange>) -> PyResult<Option<PyErr>>,
) -> PyResult<Py<PyAny>> {
    loop {
        let held = waiting.lock().take();
        if let Some(future) = held {
            match future.call_method0(py, pyo3::intern!(py, "__next__")) {
                Ok(yielded) => {
                    *waiting.lock() = Some(future);
                    return Ok(yielded);
                }
                Err(error) if error.is_instance_of::<PyStopIteration>(py) => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(done) = poll(exchange)? {
            return Err(done);
        }
        let future = exchange.wait(py)?;
        let future = future.call_method0(py, pyo3::intern!(py, "__await__"))?;
        *waiting.lock() = Some(future);
    }
}

/// Raises what a caller throws in, into the future that is waited for.
fn throw(
    py: Python<'_>,
    waiting: &parking_lot::Mutex<Option<Py<PyAny>>>,
    raised: &Bound<'_, PyAny>,
) -> PyErr {
    drop(waiting.lock().take());
    let raised = match raised.is_instance_of::<pyo3::types::PyType>() {
        true => raised.call0(),
        false => Ok(raised.clone()),
    };
    let _ = py;
    raised.map_or_else(|error| error, PyErr::from_value)
}

macro_rules! coroutine {
    ($class:ty) => {
        #[pymethods]
        impl $class {
            fn __await__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
                slf
            }

            fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
                slf
            }

            fn __next__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
                self.step(py)
            }

            fn send(&self, py: Python<'_>, _value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
                self.step(py)
            }

            #[pyo3(signature = (raised, value=None, traceback=None))]
            fn throw(
                &self,
                py: Python<'_>,
                raised: &Bound<'_, PyAny>,
                value: Option<&Bound<'_, PyAny>>,
                traceback: Option<&Bound<'_, PyAny>>,
            ) -> PyErr0 {
                let _ = traceback;
                self.ended();
                Err(throw(py, &self.waiting, value.unwrap_or(raised)))
            }

            fn close(&self) {
                self.ended();
                drop(self.waiting.lock().take());
            }
        }
    };
}

/// What only ever raises.
type PyErr0 = PyResult<Py<PyAny>>;

coroutine!(Receive);
coroutine!(Sent);

#[pymethods]
impl Done {
    fn __await__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self) -> Option<Py<PyAny>> {
        None
    }

    fn send(&self, _value: &Bound<'_, PyAny>) -> PyErr0 {
        Err(PyStopIteration::new_err(()))
    }

    #[pyo3(signature = (raised, value=None, traceback=None))]
    fn throw(
        &self,
        py: Python<'_>,
        raised: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyErr0 {
        let _ = traceback;
        let nothing = parking_lot::Mutex::new(None);
        Err(throw(py, &nothing, value.unwrap_or(raised)))
    }

    fn close(&self) {}
}
