"""Writes the service's files, whole or not at all, and says what else is to be done."""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from cryobridge.schemas.errors import CryobridgeError
from cryobridge.wrappers.formats.whole_file import whole_file, write_all

from .service_files import Scope, ServiceFile

FILE_MODE, FOLDER_MODE = 0o644, 0o755
"""systemd, and the user that the service runs as, read them all."""


class Deed(StrEnum):
    """What becomes of a file."""

    WRITTEN = "write"
    REPLACED = "replace"
    UNCHANGED = "as it should be"
    KEPT = "kept as it is, with your changes"


def deed_for(file: ServiceFile) -> Deed:
    """What an installation does to a file; raises as `ServiceFile.found`."""
    found = file.found()
    if found is None:
        return Deed.WRITTEN
    if found == file.text:
        return Deed.UNCHANGED
    return Deed.KEPT if file.is_config else Deed.REPLACED


def install_file(file: ServiceFile) -> Deed:
    """Write a file if it is to be written; say what was done.

    Raises
    ------
    InputInvalid
        As `ServiceFile.found`.
    CryobridgeError
        If it cannot be written; what stood there does so still.
    """
    deed = deed_for(file)
    if deed in {Deed.WRITTEN, Deed.REPLACED}:
        try:
            _make_folder(file.path.parent)
            with whole_file(file.path) as descriptor:
                # Whatever the umask of whoever installs.
                os.fchmod(descriptor, FILE_MODE)
                write_all(descriptor, file.text.encode(), 0)
        except OSError as error:
            raise CryobridgeError(
                f"{file.path}: cannot be written ({error.strerror or error}); what was written before it stays"
            ) from error
    return deed


def next_commands(scope: Scope, *, is_upgrade: bool) -> Iterator[str]:
    """What is to be typed once the files are there."""
    if scope is Scope.USER:
        yield "systemctl --user daemon-reload"
        yield "systemctl --user enable --now cryobridge.service"
        if is_upgrade:
            yield "systemctl --user restart cryobridge.service"
        yield "loginctl enable-linger    # it then runs while you are logged out, too"
    else:
        yield "systemd-sysusers cryobridge.conf"
        yield "systemd-tmpfiles --create cryobridge.conf"
        yield "systemctl daemon-reload"
        yield "systemctl enable --now cryobridge.socket cryobridge.service"
        if is_upgrade:
            yield "systemctl restart cryobridge.service"
    yield "cryobridge doctor"


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir()
        folder.chmod(FOLDER_MODE)
