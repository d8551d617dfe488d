"""The files that make cryobridge a service of a machine or of a user, as this version writes them, and their places.

They come with the program (`systemd/`), each a whole file that a packager can use as it is; here the path of the
installed program is put in.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import cryobridge
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import read_bounded

SOURCES = Path(cryobridge.__file__).parent / "systemd"
MAX_FILE_BYTES = 256 * 1024
SERVICE_USER = "cryobridge"
HIDDEN_FROM_SERVICE = tuple(Path(path) for path in ("/home", "/root", "/run/user", "/tmp", "/var/tmp"))  # noqa: S108
"""What `ProtectHome=` and `PrivateTmp=` of the machine's service keep from it."""
_PROGRAMS = ("/opt/cryobridge/bin/cryobridge", "%h/.local/bin/cryobridge")
"""Where the files in `systemd/` say the program is."""
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9_./+@:-]+")


class Scope(StrEnum):
    """Whose service it is."""

    SYSTEM = "system"
    USER = "user"


@dataclass(frozen=True)
class ServiceFile:
    """One file of an installation.

    Attributes
    ----------
    path
        Where it belongs.
    text
        What this version writes.
    is_config
        Whether it is an operator's to change, and so is left as it is once it is there.
    """

    path: Path
    text: str
    is_config: bool = False

    def found(self) -> str | None:
        """What stands there now; None if nothing does.

        Raises
        ------
        InputInvalid
            If it is a link (of `systemctl mask`, say), no plain file, or cannot be read.
        """
        if self.path.is_symlink():
            raise InputInvalid(f"{self.path}: is a link to {self.path.readlink()}; remove it first")
        if not os.path.lexists(self.path):
            return None
        return read_bounded(self.path, MAX_FILE_BYTES)

    def is_current(self) -> bool:
        """Whether it stands there as this version writes it; raises as `found`."""
        return self.found() == self.text


def own_program() -> Path:
    """The `cryobridge` of this installation."""
    return Path(sys.executable).parent / "cryobridge"


def service_files(scope: Scope, program: Path, root: Path, environment: Mapping[str, str]) -> list[ServiceFile]:
    """All files of an installation.

    Parameters
    ----------
    scope
        The machine's service or the user's.
    program
        What the units start.
    root
        Put before every path, for packagers; `/` as a rule.
    environment
        Says where a user's files are (`XDG_CONFIG_HOME`, `HOME`).

    Raises
    ------
    InputInvalid
        If the program's path cannot stand in a unit.
    """
    if not _PLAIN_PATH.fullmatch(str(program)):
        raise InputInvalid(
            f"{program}: has characters that a unit cannot hold; make a link with a plain name to its folder"
        )

    def made(source: str, place: Path, *, is_config: bool = False) -> ServiceFile:
        text = _with_program(read_bounded(SOURCES / source, MAX_FILE_BYTES), program)
        return ServiceFile(_below(root, place), text if is_config else _signed(text, place), is_config)

    if scope is Scope.USER:
        config = config_home(environment)
        return [
            made("user/cryobridge.service", config / "systemd/user/cryobridge.service"),
            made("cryobridge.example.yaml", config / "cryobridge/config.yaml", is_config=True),
        ]
    return [
        *(made(f"system/{name}", Path("/etc/systemd/system") / name) for name in SYSTEM_UNITS),
        made("sysusers.d/cryobridge.conf", Path("/etc/sysusers.d/cryobridge.conf")),
        made("tmpfiles.d/cryobridge.conf", Path("/etc/tmpfiles.d/cryobridge.conf")),
        made("system/config.yaml", Path("/etc/cryobridge/config.yaml"), is_config=True),
    ]


SYSTEM_UNITS = ("cryobridge.service", "cryobridge.socket", "cryobridge-jobs@.service")


def config_home(environment: Mapping[str, str]) -> Path:
    """Where a user's settings are."""
    return Path(environment.get("XDG_CONFIG_HOME") or f"{environment.get('HOME', '/')}/.config").absolute()


def hidden_parts(program: Path) -> list[Path]:
    """What of this installation the machine's service could not read: the program, its Python, its modules.

    By where they are and by what everybody may do; access lists are not seen.
    """
    parts = [program, Path(sys.executable).resolve(), Path(cryobridge.__file__).resolve()]
    return [part for part in dict.fromkeys(parts) if _is_hidden(part) or not _is_for_all(part)]


def _is_hidden(path: Path) -> bool:
    return any(one.is_relative_to(hidden) for one in (path, path.resolve()) for hidden in HIDDEN_FROM_SERVICE)


def _is_for_all(path: Path) -> bool:
    try:
        real = path.resolve()
        return all(above.stat().st_mode & 0o001 for above in real.parents) and bool(real.stat().st_mode & 0o004)
    except OSError:
        return False


def _with_program(text: str, program: Path) -> str:
    for example in _PROGRAMS:
        text = text.replace(example, str(program))
    return text


def _signed(text: str, place: Path) -> str:
    where = f"'systemctl edit {place.name}'" if place.suffix in {".service", ".socket"} else "a file beside it"
    return (
        f"# Written by 'cryobridge install' of version {cryobridge.__version__}; changes belong into {where}.\n{text}"
    )


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to(path.anchor)
