"""Calls to the services of CryoSPARC 4 (JSON-RPC and files over HTTP), through `cryosparc-tools` 4, each sent once.

The client sends a request again after a time-out or where nothing answers, whatever it was, 30 s apart: a lost answer
to "create a job" makes two. It also reads answers of any length, and writes what was asked, a password included, into
the text of its errors. Here a connection that breaks is `Unreachable`, answers are bounded, and what a call went wrong
with is told without what was asked.

Not tried on a real instance; agrees with the client's source 4.7.1.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import time
import urllib.error
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from http.client import HTTPException
from typing import IO, Any

from ..server import PASSING, UNAUTHORISED, NotLoggedIn, ServerRefused, Unreachable

CORE_PORT, VIS_PORT = 2, 3
"""From the base port on."""
TIMEOUT_S = 60.0
MAX_ANSWER_BYTES = 64 << 20
MAX_TEXT = 400
_MAX_REFUSAL_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 20


class Broken(Exception):  # noqa: N818 - nothing at which the client would try again
    """The connection broke: what was asked for may have been done or not."""


class Calls:
    """The two services of an instance that external jobs need.

    Parameters
    ----------
    host, base_port
        Where it is; the services are at the base port + 2 and + 3.
    license_id
        Which the instance lets in.
    timeout_s
        Longest wait for an answer, and for the next bytes of a file.

    Raises
    ------
    NotLoggedIn
        If the licence ID is not taken.
    Unreachable
        If a service does not answer.
    ServerRefused
        If it is spoken to in a way that it does not know.
    """

    def __init__(self, host: str, base_port: int, license_id: str, timeout_s: float = TIMEOUT_S) -> None:
        self._command = _one_try_client()
        self._timeout_s = timeout_s
        made = []
        for name, offset in (("command_core", CORE_PORT), ("command_vis", VIS_PORT)):
            try:
                with answered(f"http://{host}:{base_port + offset} ({name} of CryoSPARC 4): cannot be spoken to"):
                    made.append(
                        self._command.CommandClient(
                            service=name,
                            host=f"[{host}]" if ":" in host else host,
                            port=base_port + offset,
                            headers={"License-ID": license_id},
                            timeout=timeout_s,
                        )
                    )
            except ServerRefused as error:
                # How it refuses a licence ID is not known.
                raise ServerRefused(f"{error}; is CRYOSPARC_LICENSE_ID that of this instance?", error.status) from None
        self._core, self._vis = made

    def core(self, method: str, *positional: object, **named: object) -> Any:
        """Call a function of the core service."""
        return self._called(self._core, method, named or list(positional))

    def vis(self, method: str, **named: object) -> Any:
        """Call a function of the service for files and external jobs."""
        return self._called(self._vis, method, named)

    @contextlib.contextmanager
    def file(self, path: str, asked: Mapping[str, object]) -> Iterator[IO[bytes]]:
        """Ask for a file or a table, to be read in pieces."""
        with self._command.make_json_request(self._vis, path, data=asked) as answer:
            yield answer

    def send(self, path: str, query: Mapping[str, object], content: bytes | IO[bytes] | Iterable[bytes]) -> bytes:
        """Send a file or a table; what is answered."""
        with self._command.make_request(self._vis, url=path, query=query, data=content) as answer:
            return bytes(answer.read())

    def _called(self, service: Any, method: str, asked: object) -> Any:
        call = {"jsonrpc": "2.0", "method": method, "params": asked, "id": str(uuid.uuid4())}
        with self._command.make_json_request(service, "/api", data=call) as answer:
            told = json.loads(answer.read())
        if not isinstance(told, dict) or not ("result" in told or "error" in told):
            raise ValueError(f"'{method}' was answered with something else than JSON-RPC")
        error = told.get("error")
        if error is not None:
            raise _refusal(self._command, error if isinstance(error, dict) else {"message": str(error)})
        return told["result"]


@contextlib.contextmanager
def answered(doing: str) -> Iterator[None]:
    """Say in our own words how a call went that did not go well; nothing of what was asked is told or kept.

    Raises
    ------
    ServerRefused, Unreachable, NotLoggedIn
        For whatever the client raises.
    """
    command = importlib.import_module("cryosparc.command")
    try:
        yield
    except command.CommandError as error:
        if error.code == UNAUTHORISED:
            raise NotLoggedIn(
                f"{doing}: the server does not take the licence ID; set CRYOSPARC_LICENSE_ID to that of this instance"
            ) from None
        status = error.code if isinstance(error.code, int) and 100 <= error.code < 600 else 0
        said = f"{doing}: {_said(error.data)} (code {error.code})"
        raise (Unreachable(said) if status in PASSING else ServerRefused(said, status)) from None
    except Broken as error:
        raise Unreachable(f"{doing}: {error}") from None
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        said = " ".join(str(error).split())[:MAX_TEXT]
        raise ServerRefused(
            f"{doing}: the server and this version of cryosparc-tools do not go together ({said})"
        ) from None


def _refusal(command: Any, error: Mapping[str, Any]) -> Exception:
    """An error that was told in JSON-RPC, as the client has it."""
    data = error.get("data")
    slots = data if isinstance(data, dict) and "slots" in data else None
    told = slots or {"message": error.get("message") or error.get("name"), "data": data}
    refusal: Exception = command.CommandError("", code=error.get("code", 0), data=told)
    return refusal


def _said(data: object) -> str:
    """What the server says of a refusal, in one line: its message, and the last line of a traceback."""
    if isinstance(data, dict) and isinstance(data.get("slots"), dict):
        known = data["slots"].get("valid_dtypes") or []
        wrong = [str(one.get("dtype")) for one in data["slots"].get("invalid") or [] if isinstance(one, dict)]
        return f"it does not know the slots {', '.join(wrong)}; it knows {', '.join(map(str, known))}"[:MAX_TEXT]
    if isinstance(data, dict):
        inner = data.get("data")
        inner = inner.get("traceback") if isinstance(inner, dict) else inner
        lines = str(inner or "").strip().splitlines()
        text = " ".join(str(part) for part in (data.get("message"), *lines[-1:]) if part)
    else:
        text = data.decode(errors="replace") if isinstance(data, bytes) else str(data or "")
    return " ".join(text.split())[:MAX_TEXT] or "it gives no reason"


# ---- one try


def _one_try_client() -> Any:
    """The client's module of calls, in which nothing is sent twice."""
    try:
        command: Any = importlib.import_module("cryosparc.command")
    except ValueError as error:
        raise ServerRefused(
            f"cryosparc-tools cannot be used: {error}; CRYOSPARC_COMMAND_RETRIES and CRYOSPARC_COMMAND_RETRY_SECONDS "
            "have to be whole numbers, or not set"
        ) from error
    warnings.filterwarnings("ignore", message=r"\*\*\* ")
    if not hasattr(command, "urlopen") or not hasattr(command, "make_json_request"):
        raise ServerRefused(
            "this version of cryosparc-tools 4 is not known here; install the last one that is: "
            'pip install "cryosparc-tools~=4.7.0"'
        )
    if not isinstance(command.urlopen, _Once):
        command.urlopen = _Once(command.urlopen)
    # One try; with 1, to which users set it who want one, the client does nothing at all.
    command.MAX_ATTEMPTS = 2
    return command


class _Once:
    """Opens an address so that whatever breaks is `Broken`, which the client passes on."""

    def __init__(self, urlopen: Callable[..., Any]) -> None:
        self._urlopen = urlopen

    def __call__(self, request: Any, timeout: float) -> _Answer:
        try:
            return _Answer(self._urlopen(request, timeout=timeout), timeout)
        except urllib.error.HTTPError as error:
            with _breaks():
                raw = error.read(_MAX_REFUSAL_BYTES)
            raise urllib.error.HTTPError(error.url, error.code, error.msg, error.hdrs, io.BytesIO(raw)) from None
        except urllib.error.URLError as error:
            raise Broken(str(error.reason)) from error
        except (OSError, HTTPException) as error:
            raise Broken(_words(error)) from error


class _Answer:
    """An answer as the client reads it; one that is cut off or far too long is `Broken`."""

    def __init__(self, response: Any, timeout_s: float) -> None:
        self._response = response
        self._timeout_s = timeout_s
        self.headers = response.headers
        self.status = response.status

    def __enter__(self) -> _Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()

    def read(self, size: int | None = None) -> bytes:
        """The next bytes; all of them, as far as an answer may be long and take its time, where no size is given."""
        if size is not None and size >= 0:
            return self._piece(size)
        parts, length, ends = [], 0, time.monotonic() + self._timeout_s
        while part := self._piece(_CHUNK_BYTES):
            parts.append(part)
            length += len(part)
            if length > MAX_ANSWER_BYTES:
                raise Broken(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
            if time.monotonic() > ends:
                raise Broken(f"the answer takes longer than {self._timeout_s:.0f} s")
        return b"".join(parts)

    def _piece(self, size: int) -> bytes:
        with _breaks():
            # What has come so far, so that one who sends a byte a minute is seen to.
            raw = bytes(self._response.read1(size))
        if not raw and size and self._response.length:
            raise Broken("the answer was cut off")
        return raw


@contextlib.contextmanager
def _breaks() -> Iterator[None]:
    try:
        yield
    except (OSError, HTTPException) as error:
        raise Broken(_words(error)) from error


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
