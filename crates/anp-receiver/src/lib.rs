//! anp-receiver
