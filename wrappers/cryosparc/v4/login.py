"""Who the bridge is to CryoSPARC 4: a licence ID, which lets in, and a user, whose password is asked for once.

There are no tokens. Not tried on a real instance; agrees with the client's source 4.7.1.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ..server import NotLoggedIn

LICENSE, EMAIL, PASSWORD = "CRYOSPARC_LICENSE_ID", "CRYOSPARC_EMAIL", "CRYOSPARC_PASSWORD"
HOST, BASE_PORT = "CRYOSPARC_MASTER_HOSTNAME", "CRYOSPARC_BASE_PORT"
DEFAULT_PORT = 39000
_LICENSE = re.compile(r"[a-f\d]{8}(-[a-f\d]{4}){3}-[a-f\d]{12}")


@dataclass(frozen=True)
class V4Login:
    """What CryoSPARC 4 wants to be told; not shown where it is printed."""

    license_id: str = field(repr=False)
    email: str
    password: str = field(repr=False)


def login_of(url: str, email: str, password: str) -> V4Login:
    """Put together what is needed, the licence ID from the environment.

    Raises
    ------
    NotLoggedIn
        If something is missing; it names the variables.
    """
    license_id = _license_as_set()
    given = ((LICENSE, license_id), (EMAIL, email), (PASSWORD, password))
    missing = [name for name, value in given if not value]
    if missing:
        raise NotLoggedIn(f"{url} is CryoSPARC 4, which has no tokens: set {_listed(missing)} in the environment")
    if not _LICENSE.fullmatch(license_id):
        raise NotLoggedIn(
            f"{LICENSE} is no licence ID, which looks like 01234567-89ab-cdef-0123-456789abcdef; it is in "
            "cryosparc_master/config.sh of the instance"
        )
    return V4Login(license_id, email, password)


def license_of_environment() -> str:
    """The licence ID that is set; empty where none is, or what is set is none and must not be sent."""
    license_id = _license_as_set()
    return license_id if _LICENSE.fullmatch(license_id) else ""


def no_tokens(url: str) -> str:
    """Why nobody can log in to CryoSPARC 4, and what to do instead."""
    return (
        f"{url} is CryoSPARC 4, which has no tokens, so there is nothing to log in to: "
        f"set {_listed([LICENSE, EMAIL, PASSWORD])} in the environment of the other commands instead"
    )


def url_of_environment() -> str | None:
    """The address that the variables of CryoSPARC's own tools give; None where they give none.

    Where there is a licence ID and no host, it is this machine, as for those tools.
    """
    host = os.environ.get(HOST, "").strip() or ("localhost" if license_of_environment() else "")
    if not host:
        return None
    return f"http://{host}:{os.environ.get(BASE_PORT, '').strip() or DEFAULT_PORT}"


def place_of(url: str) -> tuple[str, int]:
    """Host and base port of an address."""
    parts = urlsplit(url)
    return parts.hostname or "localhost", parts.port or DEFAULT_PORT


def _license_as_set() -> str:
    return os.environ.get(LICENSE, "").strip().lower()


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
