"""Logging in to CryoSPARC 5: a token for some days, kept where `cryosparc-tools` keeps it, for its owner only."""

from __future__ import annotations

import hashlib
import importlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..server import NotLoggedIn
from ..versions import spoken_to

DEFAULT_DAYS = 14.0
MOST_DAYS = 365.0
WARN_DAYS = 3.0


def log_in(url: str, email: str, password: str, days: float = DEFAULT_DAYS, *, timeout_s: float = 60.0) -> datetime:
    """Get a token and keep it; when it expires.

    Raises
    ------
    NotLoggedIn
        If the server does not take the password.
    ServerRefused
        If `cryosparc-tools` are not installed, or of a version that cannot speak to this server.
    Unreachable
        If nobody answers.
    """
    spoken_to(url)
    # This needs what comes with the tools.
    from .one_try import without_warnings

    without_warnings()
    importlib.import_module("cryosparc.tools")
    auth = importlib.import_module("cryosparc.auth")
    expires = datetime.now(UTC) + timedelta(days=days)
    try:
        token = _new_token(url, email, password, days, timeout_s)
    except NotLoggedIn as error:
        raise NotLoggedIn(f"{url}: the server does not take this password for {email}") from error
    with _for_the_owner_only():
        sessions = auth.InstanceAuthSessions.load()
        sessions.insert(url, email, token, expires)
        if token_path().exists():
            # A file that is there keeps its permissions; nobody is to read it between two instants.
            token_path().chmod(0o600)
        sessions.save()
    return expires


def token_path() -> Path:
    """Where tokens are kept."""
    return Path(importlib.import_module("cryosparc.auth").get_default_auth_config_path())


def token_expires(url: str, email: str = "") -> datetime | None:
    """When the token for a server expires; None where there is none."""
    session = importlib.import_module("cryosparc.auth").InstanceAuthSessions.load().find(url, email or None)
    return None if session is None else session.expires


def readable_by_others() -> bool:
    """Whether other users may read the tokens."""
    try:
        return bool(token_path().stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except OSError:
        return False


def _new_token(url: str, email: str, password: str, days: float, timeout_s: float) -> Any:
    # These need what comes with the tools.
    from .adapter import API
    from .answered import answered
    from .one_try import http_client

    with answered(f"{url}: cannot log in"):
        client = http_client(f"{url}{API}", timeout_s)
        api: Any = importlib.import_module("cryosparc.api").APIClient(
            http_client=client, headers={"User-Agent": "cryobridge"}
        )
        return api.login(
            grant_type="password",
            username=email,
            password=hashlib.sha256(password.encode()).hexdigest(),
            expires_in=days * 86400,
        )


@contextmanager
def _for_the_owner_only() -> Iterator[None]:
    """The client writes tokens with whatever permissions a new file gets."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)
