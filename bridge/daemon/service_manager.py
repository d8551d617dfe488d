"""What the daemon tells systemd: that it is ready, that it ends, how it is, and that all is well as long as it is.

Where systemd did not start it nothing is told to anybody.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import MutableMapping

log = logging.getLogger(__name__)

PULSE_S = 10.0
"""So often the daemon looks at itself; more often where systemd waits less than three times as long."""
PINGS_PER_LIMIT = 3
EXTENSION_S = 30.0
"""While calls are still answered, systemd is asked for so much time again and again; the end itself takes less."""


class ServiceManager:
    """systemd as the daemon's parent, if it is.

    Parameters
    ----------
    environment
        What it said at the start (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`) is taken out, so that no worker
        speaks in the daemon's name.

    Attributes
    ----------
    pulse_s
        How often `pulse` is to be called, in seconds.
    """

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        self._address = environment.pop("NOTIFY_SOCKET", "")
        limit_us, pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", str(os.getpid()))
        watched = limit_us.isdigit() and int(limit_us) > 0 and pid == str(os.getpid())
        self.pulse_s = min(PULSE_S, int(limit_us) / 1e6 / PINGS_PER_LIMIT) if watched else PULSE_S
        self._amiss: str | None = None

    def ready(self) -> None:
        """The socket is listened on and the database open."""
        self._tell("READY=1")

    def stopping(self, status: str) -> None:
        """The daemon ends once calls under way are answered; `status` is one line about it."""
        self._tell("STOPPING=1", f"STATUS={status}", _extension())

    def pulse(self, amiss: str | None, status: str, *, stopping: bool) -> None:
        """Say how it is, and that all is well if it is.

        Parameters
        ----------
        amiss
            What a new start may mend, in a few words; None if nothing. While there is something, the watchdog hears
            nothing, and starts the daemon anew if that lasts.
        status
            One line; every user of the machine can read it.
        stopping
            Whether calls are answered before the end, for which time is asked for.
        """
        if amiss != self._amiss:
            self._amiss = amiss
            if amiss is not None:
                log.warning("the watchdog is not told that all is well", extra={"because": amiss})
        words = [f"STATUS={status}{f'; {amiss}' if amiss else ''}"]
        if amiss is None:
            words.append("WATCHDOG=1")
        if stopping:
            words.append(_extension())
        self._tell(*words)

    def _tell(self, *words: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(address)
            sock.sendall("\n".join(words).encode())


def _extension() -> str:
    return f"EXTEND_TIMEOUT_USEC={int(EXTENSION_S * 1e6)}"
