"""A server at an address, whichever version it is of."""

from __future__ import annotations

from .server import CryosparcServer, NotLoggedIn, ServerRefused
from .state_folder import state_folder
from .v4.login import login_of, no_tokens
from .versions import checked_url, detect, mismatch, spoken_to, tools_version


def connected(url: str, email: str = "", password: str = "") -> tuple[CryosparcServer, str | None]:
    """Speak to a server; also what is to be said about its version and ours, if anything.

    The licence ID that CryoSPARC 4 wants comes from the environment.

    Raises
    ------
    ServerRefused
        If `cryosparc-tools` are not installed, or of a version that cannot speak to this server at all.
    Unreachable, NotLoggedIn
        If nobody answers, or nobody is let in.
    """
    url = checked_url(url)
    found = spoken_to(url)
    # Only here are the tools, and what comes with them, known to be there.
    server: CryosparcServer
    if found.major == 4:
        from .v4.adapter import V4Server
        from .v4.made_cards import MadeCards

        server = V4Server(url, login_of(url, email, password), MadeCards(state_folder(url) / "made"))
    else:
        from .v5.adapter import V5Server

        try:
            server = V5Server(url, email, password)
        except NotLoggedIn as error:
            if email and password:
                raise NotLoggedIn(f"{url}: the server does not take this password for {email}") from error
            raise
    return server, mismatch(server.version, tools_version())


def check_has_tokens(url: str) -> None:
    """Say so in one sentence where a server has no tokens to log in for.

    Raises
    ------
    ServerRefused
        If it is CryoSPARC 4.
    Unreachable
        If nobody answers.
    """
    url = checked_url(url)
    if detect(url).major == 4:
        raise ServerRefused(no_tokens(url))
