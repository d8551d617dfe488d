"""How long is waited for a server that does not answer, and for a user to log in again. Every wait ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from cryobridge.schemas.errors import CryobridgeError

from .server import CryosparcServer, NotLoggedIn, ServerRefused, Unreachable

log = logging.getLogger(__name__)
T = TypeVar("T")
SERVERS_OWN_TROUBLE = 500
"""Refusals from here on (HTTP) are not about what was asked."""


@dataclass(frozen=True)
class CardPatience:
    """Bounds on waits.

    Attributes
    ----------
    server_s
        For a server that cannot be reached; counted anew after a wait for a login.
    login_s
        For a token after the old one has expired; work that is finished is kept meanwhile.
    trouble_s
        For a server that answers that something went wrong inside of it (HTTP 500 and above).
    daemon_s
        For a daemon that is away; it may be restarting.
    pause_s
        First pause between two tries; it doubles up to `longest_pause_s`.
    """

    server_s: float = 1800.0
    login_s: float = 24 * 3600.0
    trouble_s: float = 60.0
    daemon_s: float = 600.0
    pause_s: float = 1.0
    longest_pause_s: float = 30.0


def insist(
    server: CryosparcServer,
    call: Callable[[], T],
    patience: CardPatience,
    *,
    given_up: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Do what may be done twice until it is known to be done.

    Parameters
    ----------
    given_up
        Whether nobody wants it any more; asked before each further try.

    Raises
    ------
    Unreachable, NotLoggedIn
        What came last, once patience is at its end or it is given up.
    ServerRefused
        At once, if it is no trouble of the server's own.
    """
    begun, pause = clock(), patience.pause_s
    since, last = begun, ""
    while True:
        try:
            return call()
        except (Unreachable, NotLoggedIn, ServerRefused) as error:
            if isinstance(error, ServerRefused) and error.status < SERVERS_OWN_TROUBLE:
                raise
            if type(error).__name__ != last:
                since, last, pause = clock(), type(error).__name__, patience.pause_s
            bound = _bound(error, patience)
            now = clock() + pause
            if given_up() or now - since > bound or now - begun > patience.login_s + patience.server_s:
                raise
            log.warning("%s; trying again", error)
            sleep(pause)
            pause = min(2 * pause, patience.longest_pause_s)
            if isinstance(error, NotLoggedIn):
                _log_in_again(server)


def _bound(error: CryobridgeError, patience: CardPatience) -> float:
    if isinstance(error, NotLoggedIn):
        return patience.login_s
    return min(patience.trouble_s, patience.server_s) if isinstance(error, ServerRefused) else patience.server_s


def _log_in_again(server: CryosparcServer) -> None:
    try:
        server.renew()
    except CryobridgeError as error:
        log.warning("%s", error)
