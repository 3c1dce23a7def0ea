//! Settings that cannot be.

/// A setting that cannot be. `Display` names the key and says what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {expected}")]
pub struct ConfigError {
    /// The key within the table, such as `endpoints[0].path`.
    pub key: String,
    /// What is wrong and what was expected.
    pub expected: String,
}

/// A setting that cannot be, and what was expected.
///
/// # Errors
/// Always.
pub(crate) fn fail<T>(
    key: impl Into<String>,
    expected: impl Into<String>,
) -> Result<T, ConfigError> {
    Err(ConfigError {
        key: key.into(),
        expected: expected.into(),
    })
}
