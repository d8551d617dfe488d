"""Whether what is said to a server can be heard on the way."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit


def heard_by_others(url: str) -> bool:
    """Whether an address is spoken to without TLS and is not this machine's own.

    Passwords, their digests and tokens then cross the network as they are.
    """
    parts = urlsplit(url)
    return parts.scheme != "https" and not _is_this_machine(parts.hostname or "")


def _is_this_machine(host: str) -> bool:
    """Whether every address of a name is one of our own; what is not known is not."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(_is_own(family, address) for family, _, _, _, address in found)


def _is_own(family: int, address: tuple[object, ...]) -> bool:
    # The kernel binds only what is an address of this machine; nothing is sent.
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as trial:
            trial.bind((address[0], 0, *address[2:]))
    except OSError:
        return False
    return True
