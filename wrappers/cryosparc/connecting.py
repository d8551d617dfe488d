"""A server at an address, whichever version it is of."""

from __future__ import annotations

from .server import NotLoggedIn, Server
from .versions import checked_url, mismatch, spoken_to, tools_version


def connected(url: str, email: str = "", password: str = "") -> tuple[Server, str | None]:
    """Speak to a server; also what is to be said about its version and ours, if anything.

    Raises
    ------
    Refused
        If `cryosparc-tools` are not installed, or of a version that cannot speak to this server at all.
    Unreachable, NotLoggedIn
        If nobody answers, or nobody is let in.
    """
    url = checked_url(url)
    spoken_to(url)
    # Only here are the tools, and what comes with them, known to be there.
    from .v5 import V5Server

    try:
        server = V5Server(url, email, password)
    except NotLoggedIn as error:
        if email and password:
            raise NotLoggedIn(f"{url}: the server does not take this password for {email}") from error
        raise
    return server, mismatch(server.version, tools_version())
