"""Which CryoSPARC answers at an address, and which `cryosparc-tools` goes with it; asked without any of its clients."""

from __future__ import annotations

import http.client
import importlib.metadata
import json
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryobridge.schemas.errors import InputInvalid

from .server import Unreachable
from .v4_login import license_of_environment

TIMEOUT_S = 10.0
_MAX_BYTES = 32 * 1024 * 1024
_NOT_LET_IN = (401, 403)
_VERSION = re.compile(r"v?(\d+)\.(\d+)")


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
    """
    url = checked_url(url)
    try:
        document = json.loads(_fetch(_request(f"{url}/api/cmd/openapi.json"), timeout_s))
        if isinstance(document, dict) and "paths" in document:
            return Detected(5)
    except (OSError, ValueError):
        pass
    parts = urlsplit(url)
    call = _request(
        f"http://{_bracketed(parts.hostname or '')}:{(parts.port or 39000) + 2}/api",
        data=json.dumps({"jsonrpc": "2.0", "method": "get_running_version", "params": {}, "id": "1"}).encode(),
        headers={"Content-Type": "application/json", "License-ID": license_id or license_of_environment()},
    )
    try:
        answer = json.loads(_fetch(call, timeout_s))
        # An error in JSON-RPC is an answer, too: it does not take the licence.
        return Detected(4, str(answer["result"] or "") if not answer.get("error") else "")
    except _NotLetIn:
        return Detected(4)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreachable(
            f"{url}: no CryoSPARC answers there ({error}); give the address that you open in the browser"
        ) from error


def checked_url(url: str) -> str:
    """An address as it was typed, without a path; raises `InputInvalid` where it is none."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    try:
        port = parts.port
    except ValueError as error:
        raise InputInvalid(f"{url}: {error}; write it as in http://cryosparc.example.org:39000") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputInvalid(f"{url}: is no address; write it as in http://cryosparc.example.org:39000")
    return f"{parts.scheme}://{_bracketed(parts.hostname)}" + (f":{port}" if port else "")


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


def _fetch(request: urllib.request.Request, timeout_s: float) -> bytes:
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
            return bytes(answer.read(_MAX_BYTES))
    except urllib.error.HTTPError as error:
        if error.code in _NOT_LET_IN:
            raise _NotLetIn(error.code, str(error.reason)) from error
        raise OSError(str(error.reason)) from error
    except urllib.error.URLError as error:
        raise OSError(str(error.reason)) from error
    except http.client.HTTPException as error:
        raise OSError(f"it does not speak HTTP: {type(error).__name__}") from error
