"""Where the two servers differ, and why each difference is meant. Any other fails.

docs/python.md tells people of those that an app can notice."""

from typing import Any, NamedTuple

ADDED_TO_REQUESTS = {
    "x-request-id": "The gateway names each request, for its logs and the app's.",
    "x-forwarded-for": "The caller reached the gateway, not the app.",
    "x-forwarded-proto": "The caller reached the gateway, not the app.",
    "x-forwarded-host": "The caller reached the gateway, not the app.",
    "forwarded": "The same as RFC 7239 spells it.",
}
"""Header fields that cases do not see, since they would differ in all of them."""

ADDED_TO_RESPONSES = {
    "date": "Uvicorn adds it in the app's process, the gateway at its own door: the caller has one either way.",
    "server": "Uvicorn names itself; the tunnel leaves the name to the app.",
    "x-request-id": "The gateway tells its caller what to ask about.",
}
"""The same of responses."""


class Difference(NamedTuple):
    """What is seen at one server in place of what the case expects."""

    sees: Any
    why: str


DIFFERENCES: dict[tuple[str, str], Difference] = {}


def _differs(name, server, sees, why):
    DIFFERENCES[name, server] = Difference(sees, why)


UVICORN, TUNNEL = "uvicorn", "tunnel"
FAILED = [500, b"Internal Server Error", "length", True]

# Scopes.
_differs("scope_extensions", UVICORN, ([[]], 200), "Uvicorn has no trailers.")
_differs("scope_no_state", UVICORN, ([True], 200), "Uvicorn gives an empty state where there is no lifespan; the key is optional.")
_differs("scope_method_unknown", UVICORN, ([], 400), "httptools knows a list of methods; RFC 9110 lets there be others.")
_differs("scope_http_1_0", UVICORN, ([{"http_version": "1.0"}], 200), "Behind the gateway every request has the rules of 1.1, whatever the caller speaks.")
_differs("scope_headers_space", UVICORN, ([[(b"host", b"app.example"), (b"x-a", b"a\t b \t ")]], 200), "httptools leaves space behind a value, which RFC 9110 section 5.5 takes off.")
_differs(
    "scope_headers_te", UVICORN, ([[(b"host", b"app.example"), (b"te", b"trailers")]], 200),
    "TE speaks of the caller's connection, which ends at the gateway.",
)
_differs(
    "scope_headers_of_the_connection", UVICORN,
    ([[(b"host", b"app.example"), (b"connection", b"x-hop, keep-alive"), (b"x-hop", b"1"), (b"x-a", b"1")]], 200),
    "Connection, and what it names, ends at the gateway (RFC 9110 section 7.6.1).",
)
_differs("scope_headers_forwarded_by_strangers", UVICORN, ([True], 200), "The gateway removes what strangers claim.")

# Requests.
_differs("bad_version", TUNNEL, ([], 505), "RFC 9110 section 15.6.6 has a status for it.")
_differs("bad_no_host", UVICORN, (["called"], 200), "RFC 9112 section 3.2 wants 400; the gateway routes by it.")
_differs("send_after_a_disconnect", UVICORN, (["http.disconnect", "nothing"], None), "As ASGI has it since 2.4, send raises OSError; uvicorn is silent.")

# Responses.
_differs("response_without_length", UVICORN, ([], [200, b"data", "chunked", True]), "All of the body is known, so its length is told.")
_differs("response_empty_without_length", UVICORN, ([], [200, b"", "chunked", True]), "All of the body is known, so its length is told.")
_HELD = "The head waits for the first of the body, as ASGI wants it, so that the caller gets 500 and not half a response."
_differs("response_start_twice", UVICORN, (["RuntimeError"], [200, b"", "chunked", False]), _HELD)
_differs("response_head_only", UVICORN, ([], [200, b"", "chunked", False]), _HELD)
_differs("exception_after_the_start", UVICORN, (["raises"], [200, b"", "chunked", False]), _HELD)
_differs("response_longer_than_its_length", UVICORN, (["RuntimeError"], [200, b"", "length", False]), _HELD)
_differs("response_shorter_than_its_length", UVICORN, (["RuntimeError"], [200, b"four", "length", False]), _HELD)
_CHECKED = "A bad field is a ValueError before anything is sent; uvicorn closes the connection."
_differs("response_line_feed_in_a_value", UVICORN, (["RuntimeError"], [0, b"", "gone", False]), _CHECKED)
_differs("response_space_in_a_name", UVICORN, (["RuntimeError"], [0, b"", "gone", False]), _CHECKED)
_differs("response_text_for_bytes", UVICORN, (["TypeError"], [0, b"", "gone", False]), "The caller gets 500; uvicorn closes the connection.")
_differs("response_bad_length", UVICORN, (["RuntimeError"], [200, b"", "length", False]), _CHECKED)
_differs("response_shorter_in_pieces", UVICORN, (["RuntimeError"], [200, b"four", "length", False]), "The piece that is too short is refused whole.")
_differs("trailers_of_a_get", UVICORN, ([False, "done"], [200, b"data", "chunked", [], True]), "Uvicorn has no trailers.")
_differs("trailers_of_a_head", UVICORN, ([False, "done"], [200, b"", "none", [], True]), "Uvicorn has no trailers.")

# WebSockets.
_differs(
    "ws_compression", UVICORN, ([], "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"),
    "Compression of messages is not negotiated.",
)
_ABNORMAL = "Uvicorn drops the connection (1006) where a close code says more."
_differs("ws_app_raises_open", UVICORN, ([], (1006, "")), _ABNORMAL)
_differs("ws_app_returns_open", UVICORN, ([], (1006, "")), _ABNORMAL)
_differs("ws_wrong_accept_twice", UVICORN, (["RuntimeError"], (1006, "")), _ABNORMAL)
_differs("ws_wrong_response_after_accept", UVICORN, (["RuntimeError"], (1006, "")), _ABNORMAL)
_differs("ws_handshake_of_another_version", TUNNEL, (["http"], 426), "An upgrade that is none of ASGI's is a request; the app answers it.")
_differs(
    "ws_caller_closes_by_vanishing", UVICORN, ([("websocket.disconnect", 1005, ""), "OSError"], None),
    "RFC 6455 section 7.1.5: 1006 where no close frame came.",
)
