"""Which CryoSPARC answers at an address, and which `cryosparc-tools` goes with it; asked without any of its clients."""

from __future__ import annotations

import http.client
import importlib.metadata
import json
import re
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryobridge.schemas.errors import InputInvalid

from .server import ServerRefused, Unreachable
from .v4.login import license_of_environment

TIMEOUT_S = 10.0
_MAX_BYTES = 32 * 1024 * 1024
_CHUNK_BYTES, _PATIENT = 1 << 16, 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NOT_LET_IN = (401, 403)
_HOST = re.compile(r"[\w.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")
_LIKE = "write it as in http://cryosparc.example.org:39000"
_VERSION = re.compile(r"v?(\d+)\.(\d+)")
_USUAL = {4: "4.7"}
"""The last minor version of an older one, which is the likeliest."""


class _NotLetIn(OSError):  # noqa: N818
    """Somebody answers, and does not let us in."""


@dataclass(frozen=True)
class Detected:
    """What answers: 4 or 5, and the version where it is told without a login."""

    major: int
    version: str = ""


def detect(url: str, license_id: str = "", *, timeout_s: float = TIMEOUT_S) -> Detected:
    """Find out which CryoSPARC is at an address.

    Parameters
    ----------
    url
        As in a browser; 4 answers at the base port + 2 besides, in plain HTTP.
    license_id
        Which 4 wants to hear before it says anything; that of the environment where none is given.

    Raises
    ------
    Unreachable
        If neither answers as CryoSPARC does.
    InputInvalid
        If the address leads to another.
    """
    url = checked_url(url)
    try:
        document = _fetched(_request(f"{url}/api/cmd/openapi.json"), timeout_s)
        if isinstance(document, dict) and "paths" in document:
            return Detected(5)
        first = "its answer at /api/cmd is not CryoSPARC's"
    except (OSError, ValueError) as error:
        first = str(error)
    parts = urlsplit(url)
    call = _request(
        f"http://{_bracketed(parts.hostname or '')}:{(parts.port or 39000) + 2}/api",
        data=json.dumps({"jsonrpc": "2.0", "method": "get_running_version", "params": {}, "id": "1"}).encode(),
        headers={"Content-Type": "application/json", "License-ID": license_id or license_of_environment()},
    )
    try:
        answer = _fetched(call, timeout_s)
        # An error in JSON-RPC is an answer, too: it does not take the licence.
        if isinstance(answer, dict) and answer.get("error"):
            return Detected(4)
        if isinstance(answer, dict) and isinstance(answer.get("result"), str) and _VERSION.match(answer["result"]):
            return Detected(4, answer["result"])
        why = "its answer is not CryoSPARC's"
    except _NotLetIn:
        return Detected(4)
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())[:200]
    raise Unreachable(
        f"{url}: no CryoSPARC answers there ({first}; and not as version 4: {why}); "
        "give the address that you open in the browser"
    )


def checked_url(url: str) -> str:
    """An address as it was typed, without a path; raises `InputInvalid` where it is none, or holds a password.

    A path is what the browser shows behind the address, e.g. /browse/P3-W1-J42.
    """
    typed = url.strip()
    try:
        parts = urlsplit(typed if "://" in typed else f"http://{typed}")
        port = parts.port
    except ValueError as error:
        raise InputInvalid(f"{typed.rpartition('@')[2][:80]!r}: {error}; {_LIKE}") from error
    shown = repr(typed.rpartition("@")[2][:80])
    if parts.username is not None or parts.password is not None:
        raise InputInvalid(f"{shown}: an address holds no user and no password; use --email, and {_LIKE}")
    host = _bracketed(parts.hostname or "")
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host) or port == 0:
        raise InputInvalid(f"{shown}: is no address; {_LIKE}")
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def tools_version() -> str:
    """Version of the `cryosparc-tools` that are installed here; empty where there are none."""
    try:
        return importlib.metadata.version("cryosparc-tools")
    except importlib.metadata.PackageNotFoundError:
        return ""


def pip_line(server_version: str) -> str:
    """What to install for a server."""
    found = _VERSION.match(server_version)
    wanted = f"{found[1]}.{found[2]}.0" if found else "5.0.0"
    return f'pip install "cryosparc-tools~={wanted}"'


def cannot_speak(found: Detected, tools: str) -> str | None:
    """Why these tools cannot speak to what answers at all, with what to do; None where they can."""
    if tools.split(".")[0] == str(found.major):
        return None
    what = f"cryosparc-tools {tools} cannot speak to it" if tools else "cryosparc-tools are not installed here"
    if found.version:
        return f"CryoSPARC {found.version} answers there, and {what}: {pip_line(found.version)}"
    # It tells its exact version only to whoever is logged in.
    assumed = _USUAL.get(found.major, f"{found.major}.0")
    how = f"{pip_line(assumed)} (if it is {assumed}; else with its own minor version)"
    return f"CryoSPARC {found.major} answers there, and {what}: {how}"


def spoken_to(url: str) -> Detected:
    """What answers at an address, which the tools that are installed can speak to.

    Raises
    ------
    ServerRefused
        If they cannot, or there are none; the message has the line that installs them.
    Unreachable
        If nobody answers.
    """
    tools = tools_version()
    try:
        found = detect(url)
    except Unreachable as error:
        if tools:
            raise
        raise ServerRefused(f"cryosparc-tools are not installed here: {pip_line('')}; besides, {error}") from error
    problem = cannot_speak(found, tools)
    if problem:
        raise ServerRefused(f"{url}: {problem}")
    return found


def mismatch(server_version: str, tools: str) -> str | None:
    """Why these do not go together, with what to do; None where they do."""
    server, client = _VERSION.match(server_version), _VERSION.match(tools)
    if client is None:
        return f"cryosparc-tools are not installed here; {pip_line(server_version)}"
    if server is None or server.groups() == client.groups():
        return None
    return f"CryoSPARC {server_version} and cryosparc-tools {tools} are not of one version; {pip_line(server_version)}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _request(url: str, data: bytes | None = None, headers: dict[str, str] | None = None) -> urllib.request.Request:
    """A request to an address that `checked_url` has seen, so that it is one of HTTP."""
    return urllib.request.Request(url, data=data, headers=headers or {})  # noqa: S310


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Leaves an address that leads to another as it is: the client would not follow either."""

    def redirect_request(self, *_: object) -> None:
        """Do not follow."""


def _fetched(request: urllib.request.Request, timeout_s: float) -> object:
    """What JSON is answered, within a time for all of it and a size; raises `OSError` or `ValueError`."""
    # Without the proxies of the environment, which the client does not use either.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            return json.loads(_bounded(answer, timeout_s))
    except urllib.error.HTTPError as error:
        target = urlsplit(error.headers.get("Location") or "")
        if error.code in _REDIRECTS and target.scheme in ("http", "https") and target.netloc:
            here = urlsplit(request.full_url)
            raise InputInvalid(
                f"{here.scheme}://{here.netloc} leads to {target.scheme}://{target.netloc}; give that address"
            ) from error
        if error.code in _NOT_LET_IN:
            raise _NotLetIn(f"HTTP {error.code}") from error
        raise OSError(f"HTTP {error.code}") from error
    except urllib.error.URLError as error:
        raise OSError(str(error.reason)) from error
    except (http.client.HTTPException, OverflowError, RecursionError) as error:
        raise OSError(f"no HTTP ({type(error).__name__})") from error


def _bounded(answer: http.client.HTTPResponse, timeout_s: float) -> bytes:
    """All of an answer; one that goes on for too long, in bytes or in time, is given up."""
    raw, end = bytearray(), time.monotonic() + _PATIENT * timeout_s
    while chunk := answer.read1(_CHUNK_BYTES):
        raw += chunk
        if len(raw) > _MAX_BYTES or time.monotonic() > end:
            raise OSError("its answer does not end")
    return bytes(raw)
