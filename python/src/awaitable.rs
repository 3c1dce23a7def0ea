//! `receive` and `send` as an app has them, and what they return: awaitables that are most often done
//! already.

use std::sync::Arc;

use parking_lot::Mutex;
use pyo3::{exceptions::PyStopIteration, prelude::*};

use crate::{done::thrown, event, exchange::Exchange, refusal::Refusal};

/// `receive` of an exchange.
#[pyclass(frozen, module = "anp_proxy._core")]
pub(crate) struct ReceiveCall(pub(crate) Arc<Exchange>);

#[pymethods]
impl ReceiveCall {
    fn __call__(&self) -> Receive {
        Receive::new(Arc::clone(&self.0))
    }
}

/// `send` of an exchange.
#[pyclass(frozen, module = "anp_proxy._core")]
pub(crate) struct SendCall(pub(crate) Arc<Exchange>);

#[pymethods]
impl SendCall {
    fn __call__(&self, py: Python<'_>, event: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let exchange = &self.0;
        match exchange.send(event::Sent::from_python(event)?) {
            // Whoever listens may end the task that sends here; an error would overtake that.
            Err(Refusal::Gone) if exchange.listens() => return exchange.gone(py),
            sent => sent?,
        }
        match exchange.is_full() {
            false => Ok(exchange.done(py)),
            true => {
                let sent = Sent::new(Arc::clone(exchange));
                Ok(Py::new(py, sent)?.into_any())
            }
        }
    }
}

/// `await receive()`: takes the next event when it is awaited, not before, so that one that is
/// cancelled takes nothing. A coroutine to asyncio: it can be made a task.
#[pyclass(frozen, module = "anp_proxy._core")]
pub(crate) struct Receive(Waiting);

/// `await send(event)`, where the tunnel has more than enough: done once that is no longer so.
#[pyclass(frozen, module = "anp_proxy._core")]
pub(crate) struct Sent(Waiting);

impl Receive {
    pub(crate) fn new(exchange: Arc<Exchange>) -> Self {
        Self(Waiting::new(exchange))
    }

    /// One step: what to yield to the loop, or a `StopIteration` with the event.
    fn step(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.0.step(py, |exchange| {
            let event = exchange.poll_receive(py)?;
            Ok(event.map(|event| PyStopIteration::new_err((event,))))
        })
    }

    /// Its task waits no more.
    fn ended(&self) {
        self.0.exchange.stop_listening();
    }
}

impl Sent {
    pub(crate) fn new(exchange: Arc<Exchange>) -> Self {
        Self(Waiting::new(exchange))
    }

    fn step(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.0.step(py, |exchange| {
            Ok((!exchange.is_full()).then(|| PyStopIteration::new_err(())))
        })
    }

    /// Nobody listens by it.
    fn ended(&self) {}
}

/// An exchange that is waited for, and the future of the loop in which, where it is.
struct Waiting {
    exchange: Arc<Exchange>,
    future: Mutex<Option<Py<PyAny>>>,
}

impl Waiting {
    fn new(exchange: Arc<Exchange>) -> Self {
        Self {
            exchange,
            future: Mutex::new(None),
        }
    }

    /// Polls; where there is nothing yet, waits until the exchange was woken.
    fn step(
        &self,
        py: Python<'_>,
        poll: impl Fn(&Arc<Exchange>) -> PyResult<Option<PyErr>>,
    ) -> PyResult<Py<PyAny>> {
        loop {
            let held = self.future.lock().take();
            if let Some(future) = held {
                match future.call_method0(py, pyo3::intern!(py, "__next__")) {
                    Ok(yielded) => {
                        *self.future.lock() = Some(future);
                        return Ok(yielded);
                    }
                    Err(error) if error.is_instance_of::<PyStopIteration>(py) => {}
                    Err(error) => return Err(error),
                }
            }
            if let Some(done) = poll(&self.exchange)? {
                return Err(done);
            }
            let future = self.exchange.wait(py)?;
            let future = future.call_method0(py, pyo3::intern!(py, "__await__"))?;
            *self.future.lock() = Some(future);
        }
    }

    fn end(&self) {
        drop(self.future.lock().take());
    }
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

            #[pyo3(signature = (raised, value=None, _traceback=None))]
            fn throw(
                &self,
                raised: &Bound<'_, PyAny>,
                value: Option<&Bound<'_, PyAny>>,
                _traceback: Option<&Bound<'_, PyAny>>,
            ) -> PyResult<Py<PyAny>> {
                self.close();
                Err(thrown(value.unwrap_or(raised)))
            }

            fn close(&self) {
                self.ended();
                self.0.end();
            }
        }
    };
}

coroutine!(Receive);
coroutine!(Sent);
