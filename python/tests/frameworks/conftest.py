"""`serve` of the tests for apps in the receiver's process, and callers that real people use."""

from inprocess.conftest import serve  # noqa: F401
