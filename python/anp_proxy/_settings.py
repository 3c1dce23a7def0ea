"""Settings from keyword arguments."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from ._types import DidDocument, PrivateKey


def as_json(settings: dict[str, Any]) -> str:
    """The settings as the core reads them; those that are None keep their defaults.

    Raises TypeError for a value that no setting can have.
    """
    return json.dumps({key: value for key, value in settings.items() if value is not None})


def identity(
    settings: dict[str, Any], did: DidDocument | None, key: PrivateKey | None
) -> tuple[str, str] | None:
    """What a receiver proves itself with: files become settings; texts, of a document and of a key in
    PEM, are given back.

    Raises ValueError where one of both is missing, or only one of them is a file.
    """
    if did is None and key is None:
        return None
    if did is None or key is None:
        raise ValueError("did and key: expected both, or neither")
    if isinstance(key, bytes):
        key = key.decode()
    key_is_text = isinstance(key, str) and "-----BEGIN" in key
    if isinstance(did, Mapping) and key_is_text:
        return json.dumps(did), str(key)
    if isinstance(did, Mapping) or key_is_text:
        raise ValueError("did and key: expected two files, or a document and a key in PEM")
    settings |= {"did_document": os.fspath(did), "did_key": os.fspath(key)}
    return None
