"""HTTP for the v5 client in which nothing that writes is sent twice, and no file is held in memory.

The client sends a request again when the connection breaks, whatever it was: a lost answer to "create a job" makes two
jobs, and an upload is repeated from a stream that has been read to its end, so that an empty file arrives and no error
is raised. Here only what reads is left to it. It also holds whole answers in memory, files too; here those go where
they belong while they arrive (`poured`).
"""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Protocol

import httpx

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_OK = 200
_API = "/api/cmd"
_CHUNK_BYTES = 1 << 20


class AnswerLost(Exception):  # noqa: N818 - not a `TransportError`, at which the client would try again
    """The connection broke: what was asked for may have been done or not."""


class Sink(Protocol):
    """Takes a file as it arrives."""

    def begin(self) -> None:
        """It is sent from its start, perhaps once more: what came before counts no longer."""

    def take(self, chunk: bytes) -> bool:
        """Take the next bytes; False if no more are wanted."""


_SINK: ContextVar[Sink | None] = ContextVar("sink", default=None)


@contextlib.contextmanager
def poured(sink: Sink) -> Iterator[None]:
    """Let the files that are read inside go to a sink, and not into memory; the client sees empty ones."""
    token = _SINK.set(sink)
    try:
        yield
    finally:
        _SINK.reset(token)


class OneTry(httpx.BaseTransport):
    """A transport that passes a broken connection on as `AnswerLost` where something was to be written."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request once."""
        if request.method in _READS:
            response = _no_page(request, self._inner.handle_request(request))
            sink = _SINK.get()
            return response if sink is None or response.status_code != _OK else _emptied(response, sink)
        try:
            response = self._inner.handle_request(request)
            # The body is part of the answer; read outside, a break in it would look like one of the connection.
            response.read()
        except httpx.TransportError as error:
            raise AnswerLost(f"{type(error).__name__}: {error}") from error
        return _no_page(request, response)

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


def api_client(url: str, timeout_s: float, auth: str | tuple[str, str] | None = None) -> Any:
    """The client's `APIClient` for a server, over such a transport and with bounded waits.

    Parameters
    ----------
    url
        As in a browser, without a path.
    auth
        A token, or an address and the digest of a password.
    """
    timeout: Any = httpx.Timeout(timeout_s, connect=min(timeout_s, 20.0))
    client = httpx.Client(base_url=f"{url}{_API}", timeout=timeout, transport=OneTry(httpx.HTTPTransport()))
    made = importlib.import_module("cryosparc.api").APIClient
    return made(http_client=client, auth=auth, headers={"User-Agent": "cryobridge"})


def without_warnings() -> None:
    """Keep the client from warning of what is said here already: versions, connections that break, and stored tokens.

    Of a damaged file of tokens it shows what is in it.
    """
    warnings.filterwarnings("ignore", module=r"cryosparc(\..*)?")
    warnings.filterwarnings("ignore", message=r"\*\*\* API client")


def _no_page(request: httpx.Request, response: httpx.Response) -> httpx.Response:
    """The answer, which is never a web page: those come from what stands before CryoSPARC, which was then not asked.

    A file of the project may be one.
    """
    media = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media == "text/html" and not (_SINK.get() is not None and b".html" in request.url.query):
        response.close()
        raise AnswerLost(
            f"a web page came in the place of CryoSPARC's answer (HTTP {response.status_code}); "
            "does a proxy on the way want a login?"
        )
    return response


def _emptied(response: httpx.Response, sink: Sink) -> httpx.Response:
    """The answer without its body, which has gone to the sink."""
    try:
        sink.begin()
        for chunk in response.iter_bytes(_CHUNK_BYTES):
            if not sink.take(chunk):
                break
    finally:
        response.close()
    media = response.headers.get("Content-Type", "application/octet-stream")
    return httpx.Response(_OK, headers={"Content-Type": media}, content=b"")
