"""One suite of ASGI cases, run against uvicorn and against an app in the receiver's process."""
