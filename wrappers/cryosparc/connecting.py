"""A server at an address, whichever version it is of."""

from __future__ import annotations

from .server import Refused, Server
from .v5 import V5Server
from .versions import checked_url, detect, mismatch, pip_line, tools_version


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
    found, tools = detect(url), tools_version()
    if not tools or tools.split(".")[0] != str(found.major):
        what = f"cryosparc-tools {tools} cannot speak to it" if tools else "cryosparc-tools are not installed here"
        version = found.version or f"{found.major}.0"
        raise Refused(f"{url} is CryoSPARC {version}; {what}: {pip_line(version)}")
    server = V5Server(url, email, password)
    return server, mismatch(server.version, tools)
