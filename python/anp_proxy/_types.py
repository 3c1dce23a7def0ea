"""The types of ASGI, as far as this package needs them."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

DidDocument = str | os.PathLike[str] | Mapping[str, Any]
"""The file of a DID document, or the document itself."""
PrivateKey = str | bytes | os.PathLike[str]
"""The file of a private key, or the key itself in PEM."""
