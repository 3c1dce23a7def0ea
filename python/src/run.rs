//! The coroutine that runs an app for one request.

use std::sync::Arc;

use parking_lot::Mutex;
use pyo3::{
    exceptions::PyStopIteration,
    prelude::*,
    sync::PyOnceLock,
    types::{PyIterator, PyTuple, PyType, iterator::PySendResult},
};

use crate::exchange::Exchange;

static COROUTINE: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// Runs the app's own coroutine and sees to its end. It stands between the task and the app, where a
/// callback of the task would cost another turn of the loop.
#[pyclass(frozen, module = "anp_proxy._core")]
pub(crate) struct Run {
    exchange: Arc<Exchange>,
    /// `None` once it is over.
    inner: Mutex<Option<Inner>>,
}

enum Inner {
    /// A coroutine.
    Coroutine(Py<PyAny>),
    /// The iterator of another awaitable.
    Iterator(Py<PyAny>),
    /// The app's call itself failed.
    Failed(PyErr),
}

impl Run {
    /// Runs what calling the app gave.
    pub(crate) fn new(exchange: Arc<Exchange>, called: PyResult<Bound<'_, PyAny>>) -> Self {
        let inner = called.and_then(|called| {
            let coroutine = COROUTINE.import(called.py(), "types", "CoroutineType")?;
            Ok(match called.is_exact_instance(coroutine) {
                true => Inner::Coroutine(called.unbind()),
                false => Inner::Iterator(called.call_method0("__await__")?.unbind()),
            })
        });
        Self {
            exchange,
            inner: Mutex::new(Some(inner.unwrap_or_else(Inner::Failed))),
        }
    }

    fn step(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let inner = self.inner.lock().take();
        let sent = match &inner {
            None => return Ok(None),
            Some(Inner::Failed(error)) => Err(error.clone_ref(py)),
            Some(Inner::Coroutine(coroutine) | Inner::Iterator(coroutine)) => {
                resume(coroutine.bind(py))
            }
        };
        match sent {
            Ok(PySendResult::Next(yielded)) => {
                *self.inner.lock() = inner;
                Ok(Some(yielded.unbind()))
            }
            Ok(PySendResult::Return(_)) => {
                self.exchange.finish(py, None)?;
                Ok(None)
            }
            Err(error) => {
                self.exchange.finish(py, Some(error))?;
                Ok(None)
            }
        }
    }
}

/// Runs a coroutine up to its next `await` that has to wait.
#[allow(
    unsafe_code,
    reason = "PyIter_Send takes coroutines, which PyIterator's own check refuses"
)]
fn resume<'py>(coroutine: &Bound<'py, PyAny>) -> PyResult<PySendResult<'py>> {
    // SAFETY: the cast changes the static type only, and `send` hands the object to PyIter_Send,
    // which calls its am_send slot, its __next__ or its `send` method, and raises where it has none.
    let iterator = unsafe { coroutine.cast_unchecked::<PyIterator>() };
    iterator.send(coroutine.py().None().bind(coroutine.py()))
}

#[pymethods]
impl Run {
    fn __await__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.step(py)
    }

    fn send(&self, py: Python<'_>, _value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        self.step(py)?.ok_or_else(|| PyStopIteration::new_err(()))
    }

    #[pyo3(signature = (*raised))]
    fn throw(&self, raised: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
        let py = raised.py();
        let inner = self.inner.lock().take();
        let coroutine = match &inner {
            Some(Inner::Coroutine(coroutine) | Inner::Iterator(coroutine)) => coroutine,
            Some(Inner::Failed(error)) => {
                self.exchange.finish(py, Some(error.clone_ref(py)))?;
                return Err(PyStopIteration::new_err(()));
            }
            None => return Err(PyStopIteration::new_err(())),
        };
        match coroutine.bind(py).call_method1("throw", raised.clone()) {
            Ok(yielded) => {
                *self.inner.lock() = inner;
                Ok(yielded.unbind())
            }
            Err(error) => {
                let error = match error.is_instance_of::<PyStopIteration>(py) {
                    true => None,
                    false => Some(error),
                };
                self.exchange.finish(py, error)?;
                Err(PyStopIteration::new_err(()))
            }
        }
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let inner = self.inner.lock().take();
        if let Some(Inner::Coroutine(coroutine) | Inner::Iterator(coroutine)) = inner {
            let closed = coroutine.bind(py).call_method0("close").map(drop);
            self.exchange.finish(py, closed.err())?;
        }
        Ok(())
    }
}
