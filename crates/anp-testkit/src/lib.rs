//! anp-testkit
