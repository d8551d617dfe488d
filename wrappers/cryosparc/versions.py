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

from .server import Unreachable

TIMEOUT_S = 10.0
_MAX_BYTES = 32 * 1024 * 1024
_CHUNK_BYTES = 1 << 16
_HOST = re.compile(r"[\w.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")
_LIKE = "write it as in http://cryosparc.example.org:39000"
_VERSION = re.compile(r"v?(\d+)\.(\d+)")


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
        As in a browser; 4 answers at the base port + 2 besides.
    license_id
        Which 4 wants to hear before it says anything.

    Raises
    ------
    Unreachable
        If neither answers as CryoSPARC does.
    """
    url = checked_url(url)
    try:
        document = _fetched(_request(f"{url}/api/cmd/openapi.json"), timeout_s)
        if isinstance(document, dict) and "paths" in document:
            return Detected(5)
    except (OSError, ValueError):
        pass
    parts = urlsplit(url)
    call = _request(
        f"{parts.scheme}://{_bracketed(parts.hostname or '')}:{(parts.port or 39000) + 2}/api",
        data=json.dumps({"jsonrpc": "2.0", "method": "get_running_version", "params": {}, "id": "1"}).encode(),
        headers={"Content-Type": "application/json", "License-ID": license_id},
    )
    try:
        answer = _fetched(call, timeout_s)
        if isinstance(answer, dict) and isinstance(answer.get("result"), str) and _VERSION.match(answer["result"]):
            return Detected(4, answer["result"])
        why = "it answers, but not as CryoSPARC does"
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())[:200]
    raise Unreachable(f"{url}: no CryoSPARC answers there ({why}); give the address that you open in the browser")


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


def mismatch(server_version: str, tools: str) -> str | None:
    """Why these do not go together, with what to do; None where they do."""
    server, client = _VERSION.match(server_version), _VERSION.match(tools)
    if client is None:
        return f"cryosparc-tools are not installed here; {pip_line(server_version)}"
    if server is None or server.groups() == client.groups():
        return None
    return f"CryoSPARC {server_version} and cryosparc-tools {tools} are not of one version; {pip_line(server_version)}"


def _request(url: str, data: bytes | None = None, headers: dict[str, str] | None = None) -> urllib.request.Request:
    """A request to an address that `checked_url` has seen, so that it is one of HTTP."""
    return urllib.request.Request(url, data=data, headers=headers or {})  # noqa: S310


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _fetched(request: urllib.request.Request, timeout_s: float) -> object:
    """What JSON is answered, within a time for all of it and a size; raises `OSError` or `ValueError`."""
    end, found = time.monotonic() + timeout_s, b""
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
            while chunk := answer.read1(_CHUNK_BYTES):
                found += chunk
                if len(found) > _MAX_BYTES:
                    raise ValueError("the answer is far too long")
                if time.monotonic() > end:
                    raise TimeoutError("the answer takes too long")
        return json.loads(found)
    except urllib.error.URLError as error:
        raise OSError(str(error.reason)) from error
    except (http.client.HTTPException, OverflowError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
