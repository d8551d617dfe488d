"""What users are called."""

from __future__ import annotations

import pwd


def user_name(uid: int) -> str:
    """What a user is called on this machine."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return f"user {uid}"
