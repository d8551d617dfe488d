"""How a call to CryoSPARC 5 ended, in our words: it worked, was refused, nothing is known, or nobody is let in."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

import httpx

from cryobridge.schemas.errors import CryobridgeError

from ..sent_text import one_line
from ..server import PASSING, UNAUTHORISED, NotLoggedIn, ServerRefused, Unreachable
from .one_try import AnswerLost

_ELSEWHERE = range(300, 400)
"""Leads to another address, as a proxy does that wants a login: the server itself has said nothing."""


@contextlib.contextmanager
def answered(doing: str) -> Iterator[None]:
    """Say in our own words how a call went that did not go well.

    Raises
    ------
    ServerRefused, Unreachable, NotLoggedIn
        For whatever the client raises.
    """
    try:
        yield
    except api_error() as error:
        if error.code == UNAUTHORISED:
            raise NotLoggedIn(
                f"{doing}: the server does not take the token any more; log in again: cryobridge cryosparc login"
            ) from error
        detail = error.data.get("detail", error.data) if isinstance(error.data, dict) else error.data
        said = f"{doing}: {one_line(str(detail or error.args[0]))} (HTTP {error.code})"
        if error.code in PASSING or error.code in _ELSEWHERE:
            raise Unreachable(said) from error
        raise ServerRefused(said, error.code) from error
    except httpx.InvalidURL as error:
        # Nothing was sent, and it would be no other the next time.
        raise ServerRefused(f"{doing}: {one_line(str(error))}") from error
    except (httpx.HTTPError, httpx.StreamError, AnswerLost) as error:
        raise Unreachable(f"{doing}: {error or type(error).__name__}") from error
    except (CryobridgeError, OSError, MemoryError):
        # This side's own: a file here, or no room.
        raise
    except Exception as error:
        # The client builds its calls from what the server says it can do, and reads its answers into models and
        # tables; what it raises where they are of another sort is no fixed set.
        said = one_line(str(error.__cause__ or error))
        raise ServerRefused(
            f"{doing}: the server and this version of cryosparc-tools do not go together ({said})"
        ) from error


def api_error() -> Any:
    """The client's exception for what a server refuses; its `code` is HTTP's."""
    return importlib.import_module("cryosparc.errors").APIError
