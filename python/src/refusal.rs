//! Why an event of an app is not sent.

use pyo3::{
    PyErr,
    exceptions::{PyConnectionResetError, PyRuntimeError},
};

/// What an app did wrong, or the tunnel could not do, with an event it sent.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The event does not belong here.
    Unexpected(String),
    /// The caller is gone.
    Gone,
    /// The event cannot be sent.
    Invalid(PyErr),
}

impl From<PyErr> for Refusal {
    fn from(error: PyErr) -> Self {
        Self::Invalid(error)
    }
}

impl From<Refusal> for PyErr {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unexpected(message) => PyRuntimeError::new_err(message),
            Refusal::Gone => PyConnectionResetError::new_err("the caller went away"),
            Refusal::Invalid(error) => error,
        }
    }
}
