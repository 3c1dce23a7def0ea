"""What cases see of a message, whatever version of HTTP carried it."""

import re

OPEN = object()
"""In place of a body: the head goes out, and the body is written by hand."""
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


class Broken(Exception):
    """The message ended before it was whole, or is no HTTP."""


class Head:
    """Fields in order: names in lower case as text, values as bytes."""

    def __init__(self, fields):
        self.fields = fields

    def values(self, name):
        """The values of a field, in order."""
        return [value for key, value in self.fields if key == name]

    def value(self, name):
        """The first value of a field, or None."""
        return next(iter(self.values(name)), None)

    def names(self):
        """The names of all fields."""
        return {key for key, _ in self.fields}


class Answer(Head):
    """The head of a response; `informs` are the informational ones before it."""

    def __init__(self, status, fields, informs=()):
        super().__init__(fields)
        self.status = status
        self.informs = list(informs)
        self.body = b""
        self.trailers = []


def raw(value):
    """A field's value as bytes."""
    return value if isinstance(value, bytes) else value.encode("latin-1")


def value_of(fields, name):
    """The first value of `name` among fields that are yet to be written, or None."""
    return next((raw(value) for key, value in fields if key.lower() == name), None)


def has_no_body(status, method):
    """True for a response that ends with its head (RFC 9112, 6.3)."""
    return method == "HEAD" or status in (204, 304) or status < 200
