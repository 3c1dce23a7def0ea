//! The command line.

use anp_proxy::{AppCommand, Outcome, main_with};
use pyo3::prelude::*;

use crate::{gateway::GatewaySettings, receiver::ReceiverSettings};

/// Does what a command line asks for. Gives the exit code, or the command whose app is Python's.
#[pyfunction]
pub(crate) fn command(py: Python<'_>, arguments: Vec<String>) -> PyResult<Py<PyAny>> {
    match py.detach(|| main_with(arguments)) {
        Outcome::Ended(code) => Ok(code.into_pyobject(py)?.into_any().unbind()),
        Outcome::App(command) => Ok(Py::new(py, Command(*command))?.into_any()),
    }
}

/// A `receiver` or `dev` command with an app of Python's. Its settings are checked.
#[pyclass(frozen, module = "anp_proxy._core")]
pub(crate) struct Command(AppCommand);

#[pymethods]
impl Command {
    /// `MODULE:ATTR`.
    #[getter]
    fn app(&self) -> &str {
        &self.0.app
    }

    /// It names what makes the app.
    #[getter]
    fn factory(&self) -> bool {
        self.0.factory
    }

    /// Where modules are looked for first.
    #[getter]
    fn app_dir(&self) -> Option<String> {
        let path = self.0.app_dir.as_ref()?;
        Some(path.to_string_lossy().into_owned())
    }

    /// It is a WSGI app.
    #[getter]
    fn wsgi(&self) -> bool {
        self.0.wsgi
    }

    /// Where the app is told it is mounted.
    #[getter]
    fn root_path(&self) -> &str {
        &self.0.root_path
    }

    /// The gateway to run, too.
    #[getter]
    fn gateway(&self) -> Option<GatewaySettings> {
        self.0.gateway.clone().map(GatewaySettings)
    }

    /// The receiver to run.
    #[getter]
    fn receiver(&self) -> ReceiverSettings {
        ReceiverSettings {
            config: self.0.receiver.clone(),
            identity: None,
        }
    }
}
