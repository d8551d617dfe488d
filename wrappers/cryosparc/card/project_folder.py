"""A project's folder, looked at from here: is it there, what may be done in it, is it really the server's."""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from ..server import CryosparcServer, ServerRefused

_PREFIX = "cryobridge-doctor-"


@dataclass(frozen=True)
class FolderSeen:
    """A project's folder as seen from here.

    Attributes
    ----------
    path
        Where the server has it.
    there, readable, writable
        What this user finds under the same path here.
    same
        Whether the server sees what is written here; None where nothing can be written, or the server does not say.
    """

    path: Path
    there: bool
    readable: bool
    writable: bool
    same: bool | None


def look_at_folder(server: CryosparcServer, project: str) -> FolderSeen:
    """Look at a project's folder; a small file is written into it, read through the server, and removed again.

    Raises
    ------
    ServerRefused, Unreachable, NotLoggedIn
        If the server does not say where it is.
    """
    path = Path(server.project_directory(project))
    try:
        there = path.is_absolute() and path.is_dir()
    except PermissionError:
        # A folder on the way to it cannot be entered.
        return FolderSeen(path, there=True, readable=False, writable=False, same=None)
    if not there:
        return FolderSeen(path, there=False, readable=False, writable=False, same=None)
    readable = os.access(path, os.R_OK | os.X_OK)
    name, content = f"{_PREFIX}{secrets.token_hex(8)}", secrets.token_hex(16).encode()
    trial = path / name
    try:
        descriptor = os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except OSError:
        return FolderSeen(path, there=True, readable=readable, writable=False, same=None)
    try:
        try:
            with os.fdopen(descriptor, "wb") as file:
                # CryoSPARC is another user, and this one's umask may be strict.
                os.fchmod(descriptor, 0o644)
                file.write(content)
        except OSError:
            # E.g. a full disk or quota: it can be made, not filled.
            return FolderSeen(path, there=True, readable=readable, writable=False, same=None)
        return FolderSeen(
            path, there=True, readable=readable, writable=True, same=_arrives(server, project, name, content)
        )
    finally:
        with contextlib.suppress(OSError):
            trial.unlink()


def _arrives(server: CryosparcServer, project: str, name: str, content: bytes) -> bool | None:
    try:
        return server.read(project, name, len(content) + 1) == content
    except ServerRefused:
        return None
