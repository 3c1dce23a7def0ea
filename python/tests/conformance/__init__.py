"""One test suite of an HTTP app, run directly and through the tunnel: both must look the same."""
