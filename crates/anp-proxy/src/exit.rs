//! How the program ends: exit codes, and the line that says why.

use std::fmt;

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

impl From<crate::config::Problem> for Failure {
    fn from(problem: crate::config::Problem) -> Self {
        Self::usage(problem.to_string())
    }
}

impl From<crate::config::Problems> for Failure {
    fn from(problems: crate::config::Problems) -> Self {
        Self::usage(problems.to_string())
    }
}
