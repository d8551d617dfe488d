"""A server at an address, whichever version it is of."""

from __future__ import annotations

from .server import Refused, Server
from .state_folder import state_folder
from .v4_login import login_of, no_tokens
from .versions import Detected, checked_url, detect, mismatch, pip_line, tools_version


def connected(url: str, email: str = "", password: str = "") -> tuple[Server, str | None]:
    """Speak to a server; also what is to be said about its version and ours, if anything.

    The licence ID that CryoSPARC 4 wants comes from the environment.

    Raises
    ------
    Refused
        If `cryosparc-tools` are not installed, or of a version that cannot speak to this server at all.
    Unreachable, NotLoggedIn
        If nobody answers, or nobody is let in.
    """
    url = checked_url(url)
    found, tools = detect(url), tools_version()
    if not tools or tools.split(".")[0] != str(found.major):
        raise Refused(_apart(url, found, tools))
    # Each imports what only its own environment need have.
    server: Server
    if found.major == 4:
        from .made_cards import MadeCards
        from .v4 import V4Server

        server = V4Server(url, login_of(url, email, password), MadeCards(state_folder(url) / "made"))
    else:
        from .v5 import V5Server

        server = V5Server(url, email, password)
    return server, mismatch(server.version, tools)


def check_has_tokens(url: str) -> None:
    """Say so in one sentence where a server has no tokens to log in for.

    Raises
    ------
    Refused
        If it is CryoSPARC 4.
    Unreachable
        If nobody answers.
    """
    url = checked_url(url)
    if detect(url).major == 4:
        raise Refused(no_tokens(url))


def _apart(url: str, found: Detected, tools: str) -> str:
    """Why the tools that are installed cannot speak to a server."""
    what = f"cryosparc-tools {tools} cannot speak to it" if tools else "cryosparc-tools are not installed here"
    version = found.version or ("4" if found.major == 4 else "5.0")
    return f"{url} is CryoSPARC {version}; {what}: {pip_line(found.version or _USUAL[found.major])}"


_USUAL = {4: "4.7", 5: "5.0"}
"""Versions that are taken where a server does not tell its own."""
