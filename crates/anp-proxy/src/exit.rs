//! How the program ends: exit codes, and the line that says why.

use std::fmt;

/// The exit code of a command that did its work.
pub(crate) const SUCCESS: u8 = 0;
/// The exit code of a command that found what it looks for to be wrong.
pub(crate) const FAILURE: u8 = 1;

/// Why the program ends without having done its work.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// Configuration or usage: exit code 2. Nothing was started.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            code: 2,
            message: message.into(),
        }
    }

    /// A failure while running that nothing will retry: exit code 1.
    pub(crate) fn runtime(message: impl Into<String>) -> Self {
        Self {
            code: 1,
            message: message.into(),
        }
    }

    /// The same, with `more` to say.
    pub(crate) fn with(self, more: &str) -> Self {
        Self {
            message: self.message + more,
            ..self
        }
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
