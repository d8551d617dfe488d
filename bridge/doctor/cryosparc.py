"""Checks of the way to a CryoSPARC server: which one answers, who is let in, the daemon, projects, a whole card."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime

import cryobridge
from cryobridge.schemas.errors import CryobridgeError, DaemonUnavailable, InputInvalid
from cryobridge.schemas.requests import AskStatus
from cryobridge.wrappers.cryosparc.clear_text import heard_by_others
from cryobridge.wrappers.cryosparc.connecting import connected
from cryobridge.wrappers.cryosparc.server import CryosparcServer, NotLoggedIn
from cryobridge.wrappers.cryosparc.v5.login import WARN_DAYS, readable_by_others, token_path
from cryobridge.wrappers.cryosparc.v5.tokens import stored_tokens
from cryobridge.wrappers.cryosparc.versions import (
    Detected,
    cannot_speak,
    detect,
    mismatch,
    pip_line,
    tools_version,
)

from ..client import DaemonClient, degradations
from .cryosparc_project import check_card, check_folder
from .finding import Finding, Level

_CRYOSPARC, _TOOLS, _TOKEN, _LOGIN, _DAEMON = "CryoSPARC", "cryosparc-tools", "token", "login", "daemon"
_WITH_TOKENS = "5."


def examine_cryosparc(
    url: str,
    email: str = "",
    password: str = "",
    projects: Sequence[str] = (),
    workspace: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Iterator[Finding]:
    """Run every check that can be run, and give each finding as soon as it is found.

    Parameters
    ----------
    url
        As `versions.checked_url` gives it.
    email, password
        A user's; a stored token is taken where there is no password.
    projects
        Whose folders are looked at.
    workspace
        Of the first project; a card is made in it, tried and ended.
    environment
        The variables by which the daemon is found.
    """
    tools = tools_version()
    found = yield from check_server(url, environment.get("CRYOSPARC_LICENSE_ID", ""))
    lacking = check_tools(found, tools)
    if lacking is not None:
        yield lacking
    yield check_way(url)
    server = None
    if lacking is None:
        server = yield from check_entry(url, email, password, found, tools)
    yield from check_daemon_answers(environment)
    if server is None:
        return
    for project in projects:
        yield from check_folder(server, project)
    if workspace is not None:
        yield from check_card(server, projects[0], workspace)


def check_server(url: str, license_id: str) -> Generator[Finding, None, Detected | None]:
    """A CryoSPARC answers; returns which, or None."""
    try:
        found = detect(url, license_id)
    except CryobridgeError as error:
        known = "SSL_CERT_FILE names a file with the certificate" if "CERTIFICATE_VERIFY" in str(error) else ""
        yield Finding(_CRYOSPARC, Level.FAIL, str(error), known or "is it up, and may this machine speak to it?")
        return None
    yield Finding(_CRYOSPARC, Level.OK, f"{found.version or found.major} answers at {url}")
    return found


def check_entry(
    url: str, email: str, password: str, found: Detected | None, tools: str
) -> Generator[Finding, None, CryosparcServer | None]:
    """A user is let in; returns the server, or None."""
    if password and not email:
        yield Finding(_LOGIN, Level.WARN, "there is a password, but no user: it is not used", "give --email")
    try:
        tokens = tools.startswith(_WITH_TOKENS) and not (email and password)
        entry = not tokens or (yield from check_token(url, email, datetime.now(UTC)))
        server = None
        if found is not None and entry:
            server = yield from check_login(url, email, password, tokens=tools.startswith(_WITH_TOKENS))
    except ImportError as error:
        yield Finding(_TOOLS, Level.FAIL, f"{tools} cannot be loaded: {error}", f"install them anew: {pip_line(tools)}")
        return None
    if server is not None:
        yield check_version(server.version, tools)
    elif found is not None:
        text = (
            f"{tools} can speak to CryoSPARC {found.major}; whether they go with its minor version is seen after login"
        )
        yield Finding(_TOOLS, Level.OK, text)
    return server


def check_tools(found: Detected | None, tools: str) -> Finding | None:
    """Tools are installed that can speak to the server; None where that is all that is known yet."""
    if not tools:
        version = "" if found is None else found.version or f"{found.major}.0"
        own = "" if found is not None and found.version else " (or with the server's own minor version)"
        return Finding(_TOOLS, Level.FAIL, "are not installed here", f"{pip_line(version)}{own}")
    problem = None if found is None else cannot_speak(found, tools)
    return None if problem is None else Finding(_TOOLS, Level.FAIL, *_parted(problem))


def check_version(version: str, tools: str) -> Finding:
    """The tools are of the server's minor version."""
    if mismatch(version, tools) is None:
        return Finding(_TOOLS, Level.OK, f"{tools} go with CryoSPARC {version}")
    text = f"{tools} are not of the minor version of CryoSPARC {version}: some calls may fail"
    return Finding(_TOOLS, Level.WARN, text, pip_line(version))


def check_way(url: str) -> Finding:
    """What is said to the server cannot be heard on its way."""
    if not heard_by_others(url):
        how = "is encrypted" if url.startswith("https:") else "does not leave this machine"
        return Finding("connection", Level.OK, how)
    text = f"{url} is not encrypted: whoever listens on the way can act as this user"
    return Finding(
        "connection",
        Level.WARN,
        text,
        "ask for an https address, or go through a tunnel (ssh -L 39000:localhost:39000 HOST, --url "
        "http://localhost:39000)",
    )


def check_token(url: str, email: str, now: datetime) -> Generator[Finding, None, bool]:
    """A token is stored, for its owner only, and lasts for some days; returns whether there is one to try."""
    again = f"cryobridge cryosparc login --url {url}{f' --email {email}' if email else ''}"
    path = token_path()
    if readable_by_others():
        yield Finding(_TOKEN, Level.WARN, f"{path} can be read by other users of this machine", f"chmod 600 {path}")
    try:
        tokens = stored_tokens(path, url, email)
    except InputInvalid as error:
        yield Finding(_TOKEN, Level.FAIL, str(error), again)
        return False
    valid = [one for one in tokens if one.expires > now]
    if not valid:
        when = max((one.expires for one in tokens), default=None)
        text = "there is none for this server" if when is None else f"it expired on {when:%Y-%m-%d at %H:%M} UTC"
        yield Finding(_TOKEN, Level.FAIL, text, again)
        return False
    if len(valid) > 1:
        users = ", ".join(one.email for one in valid)
        yield Finding(_TOKEN, Level.WARN, f"there are tokens of {users}; the first is used", "give --email")
    days = (valid[0].expires - now).total_seconds() / 86400
    text = f"of {valid[0].email}, lasts {days:.1f} days, until {valid[0].expires:%Y-%m-%d %H:%M} UTC"
    if days < WARN_DAYS:
        yield Finding(_TOKEN, Level.WARN, text, again)
    else:
        yield Finding(_TOKEN, Level.OK, text)
    return True


def check_login(
    url: str, email: str, password: str, *, tokens: bool
) -> Generator[Finding, None, CryosparcServer | None]:
    """The server lets this user in; returns it, or None.

    Parameters
    ----------
    tokens
        Whether it is one that gives tokens.

    Raises
    ------
    ImportError
        If `cryosparc-tools` cannot be loaded.
    """
    try:
        server, _ = connected(url, email, password)
    except NotLoggedIn as error:
        if not tokens:
            yield Finding(_LOGIN, Level.FAIL, str(error), "mend the variables that it names")
            return None
        what = f"this password for {email}" if email and password else "the token that is stored here any more"
        yield Finding(_LOGIN, Level.FAIL, f"the server does not take {what}", f"cryobridge cryosparc login --url {url}")
        return None
    except CryobridgeError as error:
        yield Finding(_LOGIN, Level.FAIL, str(error), "look whether CryoSPARC's own page is well, and try again")
        return None
    yield Finding(_LOGIN, Level.OK, f"acts as {server.user}")
    return server


def check_daemon_answers(environment: Mapping[str, str]) -> Iterator[Finding]:
    """A daemon answers this user, and is well."""
    try:
        with DaemonClient.connect(environment) as client:
            status = client.request(AskStatus())
    except DaemonUnavailable as error:
        if "no daemon is running" not in str(error):
            yield Finding(_DAEMON, Level.FAIL, str(error))
            return
        yield Finding(_DAEMON, Level.FAIL, "none is running, and it does the work of every card", "cryobridge serve")
        return
    except CryobridgeError as error:
        yield Finding(_DAEMON, Level.FAIL, str(error), "see its log")
        return
    version = status.get("version")
    if version != cryobridge.__version__:
        text = f"is version {version}, this is {cryobridge.__version__}"
        yield Finding(_DAEMON, Level.WARN, text, f"install cryobridge {version} for {sys.executable} as well")
    problems = degradations(status)
    for problem in problems:
        yield Finding(_DAEMON, Level.WARN, problem, "see 'cryobridge status' and the daemon's log")
    if not problems:
        yield Finding(_DAEMON, Level.OK, f"version {version} is ready at {client.path}")


def _parted(problem: str) -> tuple[str, str]:
    """A sentence, and what to do."""
    text, _, advice = problem.partition(": ")
    return text, advice
