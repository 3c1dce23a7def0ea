//! anp-gateway
