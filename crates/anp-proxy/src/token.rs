//! `anp-proxy token`: secrets for receivers without an identity, and for callers.

use anp_auth::{PresharedTokens, new_token};

use crate::{exit::Failure, stdout};

/// Prints a new token and what the gateway has to know of it.
///
/// # Errors
/// The name cannot be one, or the system has no randomness.
pub(crate) fn new(name: &str, is_caller: bool) -> Result<(), Failure> {
    let (token, hash) =
        new_token().ok_or_else(|| Failure::runtime("the system has no randomness"))?;
    PresharedTokens::new([(name.to_owned(), hash)])
        .map_err(|error| Failure::usage(error.to_string()))?;
    if is_caller {
        return stdout::say(&format!(
            "secret    {token}
          for the caller, as the password of {name:?}. It is shown this once.

endpoint  callers = {{basic = [{{name = \"{name}\", hash = \"{hash}\"}}]}}
          or --caller-basic {name}={hash}"
        ));
    }
    stdout::say(&format!(
        "token     {token}
          for the receiver, in a file that only it can read: --token-file FILE.
          It is shown this once.

gateway   [[gateway.auth.tokens]]
          name = \"{name}\"
          hash = \"{hash}\"

endpoint  owner = \"token:{name}\""
    ))
}
