"""Who the daemon is to the file system."""

from __future__ import annotations

from collections.abc import Mapping

from cryobridge.schemas.errors import CryobridgeError

from ..client import DaemonClient


def daemon_uid(environment: Mapping[str, str]) -> int | None:
    """The user of the daemon that answers; None where none does."""
    try:
        with DaemonClient.connect(environment) as client:
            return client.uid
    except CryobridgeError:
        return None
