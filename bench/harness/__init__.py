"""What bench/run and bench/promises share: processes, a raw HTTP client, an app, the subjects."""
