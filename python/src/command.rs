//! The command line.

use anp_proxy::{
    AppCommand, Outcome,
    app_log::{self, Level},
    main_with,
};
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

/// Logs a message of Python's `logger` where the command's own lines go. `level` is Python's.
#[pyfunction]
pub(crate) fn log(py: Python<'_>, level: i32, logger: &str, message: &str) {
    let level = match level {
        ..10 => Level::TRACE,
        10..20 => Level::DEBUG,
        20..30 => Level::INFO,
        30..40 => Level::WARN,
        40.. => Level::ERROR,
    };
    py.detach(|| app_log::log(level, logger, message));
}

/// Says why the command ends, as it says it of itself.
#[pyfunction]
pub(crate) fn report(py: Python<'_>, why: &str) {
    py.detach(|| app_log::report(why));
}

/// Waits until what was logged is written.
#[pyfunction]
pub(crate) fn log_end(py: Python<'_>) {
    // Its reader may stand still.
    py.detach(app_log::finish);
}

/// The least level of Python's that the command logs.
#[pyfunction]
pub(crate) fn log_level() -> i32 {
    match app_log::level() {
        Some(Level::TRACE) => 1,
        Some(Level::DEBUG) => 10,
        Some(Level::INFO) => 20,
        Some(Level::WARN) => 30,
        Some(Level::ERROR) => 40,
        // Above all that are in use.
        None => 100,
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
