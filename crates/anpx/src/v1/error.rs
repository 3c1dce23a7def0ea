//! Why a meta is not a head.

use crate::FieldsError;

/// Why a meta is not a head. `Display` says which part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// Not the JSON object of ANPX 2.1; the text says what and where.
    #[error("meta is not the JSON object expected: {0}")]
    Json(String),
    /// Not a method token (RFC 9110 section 9.1).
    #[error("method is not a token")]
    Method,
    /// `host` holds white space, a control character or a byte beyond ASCII.
    #[error("host holds a forbidden character")]
    Host,
    /// A name that is no token or a value with a control character (RFC 9110 section 5).
    #[error("field {name:?}: {error}")]
    Field {
        /// The name as it was read, in lower case.
        name: String,
        /// The rule it breaks.
        error: FieldsError,
    },
    /// Not a final status, 200 to 599.
    #[error("status is {0}, expected 200 to 599")]
    Status(i64),
    /// Beyond a limit of ANPX section 4.
    #[error("the head exceeds a limit")]
    TooLarge,
}
