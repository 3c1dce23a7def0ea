"""Settings from keyword arguments."""

from __future__ import annotations

import json
from typing import Any


def as_json(settings: dict[str, Any]) -> str:
    """The settings as the core reads them; those that are None keep their defaults.

    Raises TypeError for a value that no setting can have.
    """
    return json.dumps({key: value for key, value in settings.items() if value is not None})
