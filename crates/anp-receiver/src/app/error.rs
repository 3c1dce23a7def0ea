//! What goes wrong between a receiver and its app.

use std::{error::Error as StdError, io, time::Duration};

use anp_http1::BodyError;
use anpx::{FieldsError, ResetCode, StreamError};

/// Why an exchange with an app did not end well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppError {
    /// No connection to any app.
    #[error("cannot connect to {app}: {source}")]
    Unreachable { app: String, source: io::Error },
    /// No connection to any app within `app_connect_timeout`.
    #[error("cannot connect to {app} within {} ms", after.as_millis())]
    ConnectTimeout { app: String, after: Duration },
    /// The connection broke before the response was whole.
    #[error("the app broke off {when}: {source}")]
    Broken {
        when: &'static str,
        source: io::Error,
    },
    /// A kept connection turned out dead. The request may be sent again to the same app: nothing of it
    /// was written, or (`reached`) some was, and it is idempotent and has no body.
    #[error("the app had closed the connection")]
    Stale { reached: bool },
    /// An HTTP/2 app says that it did not process the request (RFC 9113 section 8.7): it may be sent
    /// again, from here only where no more of its body was `taken` than what is kept.
    #[error("the app refused the request unprocessed")]
    NotProcessed { taken: bool },
    /// There is no app.
    #[error("no app is configured")]
    NoApp,
    /// The app's response breaks HTTP/1.1.
    #[error("the app's response is malformed: {0}")]
    Malformed(&'static str),
    /// The app's response exceeds a limit of ANPX section 4.
    #[error("the app's response exceeds a limit: {0}")]
    TooLarge(&'static str),
    /// The request cannot be written as HTTP/1.1.
    #[error("the request cannot be passed on: {0}")]
    BadRequest(&'static str),
    /// The response could not be coded (`receiver.compress`).
    #[error("the response could not be compressed: {0}")]
    Coding(io::Error),
    /// The service in this process broke off.
    #[error("the app failed in the middle of its response: {0}")]
    Service(Fault),
    /// The caller or the tunnel went away.
    #[error("{0}")]
    Gone(#[from] StreamError),
}

impl AppError {
    /// True where nothing of the request reached the app, since no connection was made.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::ConnectTimeout { .. })
    }

    /// What it is of a request of which some may have reached the app before: not one that may go
    /// elsewhere.
    pub(crate) fn once_reached(self) -> Self {
        let when = "and cannot be reached again";
        match self {
            Self::Unreachable { source, .. } => Self::Broken { when, source },
            Self::ConnectTimeout { .. } => Self::Broken {
                when,
                source: io::ErrorKind::TimedOut.into(),
            },
            other => other,
        }
    }

    /// The code the stream is reset with (ANPX 3.8); `None` where it is over already.
    pub(crate) fn reset_code(&self) -> Option<ResetCode> {
        match self {
            Self::Unreachable { .. } | Self::ConnectTimeout { .. } | Self::NoApp => {
                Some(ResetCode::UPSTREAM_UNREACHABLE)
            }
            Self::Broken { .. } | Self::Stale { .. } | Self::Malformed(_) => {
                Some(ResetCode::UPSTREAM_FAILED)
            }
            Self::NotProcessed { .. } => Some(ResetCode::REFUSED),
            Self::TooLarge(_) => Some(ResetCode::TOO_LARGE),
            Self::BadRequest(_) => Some(ResetCode::PROTOCOL),
            Self::Coding(_) | Self::Service(_) => Some(ResetCode::INTERNAL),
            Self::Gone(_) => None,
        }
    }

    /// As what it is counted; `None` where it is no failure of the app's or ours.
    pub(crate) fn kind(&self) -> Option<FailureKind> {
        Some(match self {
            Self::Unreachable { .. } | Self::NoApp => FailureKind::Unreachable,
            Self::ConnectTimeout { .. } => FailureKind::ConnectTimeout,
            Self::Broken { .. } | Self::Stale { .. } | Self::Service(_) => FailureKind::Broken,
            Self::NotProcessed { .. } => FailureKind::Refused,
            Self::Malformed(_) => FailureKind::Malformed,
            Self::TooLarge(_) => FailureKind::TooLarge,
            Self::BadRequest(_) => FailureKind::BadRequest,
            Self::Coding(_) => FailureKind::Compression,
            Self::Gone(_) => return None,
        })
    }

    /// What a bad field of a response or of its trailers comes to.
    pub(crate) fn from_field(error: FieldsError) -> Self {
        match error {
            FieldsError::TooLarge => Self::TooLarge("header fields"),
            FieldsError::BadName => Self::Malformed("bad field name"),
            _ => Self::Malformed("bad field value"),
        }
    }
}

impl From<BodyError> for AppError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Malformed(what) => Self::Malformed(what),
            BodyError::TooLarge(what) => Self::TooLarge(what),
        }
    }
}

/// What an [`AppError`] is counted as: why an app gave no response, or no whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    Unreachable,
    ConnectTimeout,
    Broken,
    Refused,
    Malformed,
    TooLarge,
    BadRequest,
    Compression,
}

impl FailureKind {
    /// In the order of their declaration.
    pub(crate) const ALL: [Self; 8] = [
        Self::Unreachable,
        Self::ConnectTimeout,
        Self::Broken,
        Self::Refused,
        Self::Malformed,
        Self::TooLarge,
        Self::BadRequest,
        Self::Compression,
    ];

    /// The word in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::ConnectTimeout => "connect_timeout",
            Self::Broken => "broken",
            Self::Refused => "refused",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::BadRequest => "bad_request",
            Self::Compression => "compression",
        }
    }
}

/// Why a service gave no response, or no whole one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// It returned an error.
    #[error("{0}")]
    Error(BoxError),
    /// It panicked.
    #[error("it panicked: {0}")]
    Panic(String),
}

/// Any error, as tower's middleware has it.
pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_place_and_a_word_of_its_own() {
        let mut names: Vec<_> = FailureKind::ALL.map(FailureKind::name).to_vec();
        for (place, kind) in FailureKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FailureKind::ALL.len());
    }
}
