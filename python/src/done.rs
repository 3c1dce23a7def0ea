//! What `send()` returns where there is nothing to wait for.

use pyo3::{exceptions::PyStopIteration, prelude::*};

/// An awaitable that is done: one serves all.
#[pyclass(frozen, module = "anp_proxy._core")]
pub(crate) struct Done;

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

    fn send(&self, _value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        Err(PyStopIteration::new_err(()))
    }

    #[pyo3(signature = (raised, value=None, _traceback=None))]
    fn throw(
        &self,
        raised: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        _traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        Err(thrown(value.unwrap_or(raised)))
    }

    fn close(&self) {}
}

/// What a caller throws in: an exception, or the class of one.
pub(crate) fn thrown(raised: &Bound<'_, PyAny>) -> PyErr {
    let raised = match raised.is_instance_of::<pyo3::types::PyType>() {
        true => raised.call0(),
        false => Ok(raised.clone()),
    };
    raised.map_or_else(|error| error, PyErr::from_value)
}
