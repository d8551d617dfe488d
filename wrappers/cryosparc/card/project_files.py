"""The project's folder as seen from here: directly where it can be, through the server where not.

A path from a dataset is never believed: it must be relative, and what it leads to must lie in the project's folder, or
in one that the operator allows, after all links are resolved.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import read_plain

from ..documents import Card
from ..server import CryosparcServer, ServerRefused

MAX_PATH_CHARACTERS = 4096


class ProjectFiles:
    """Files of one project, for one card.

    Parameters
    ----------
    server
        The server.
    card
        Whose inputs are read.
    claim
        A file that was just written into the card's folder through the server, and what it holds: where the same is
        seen here, this is the same folder and not one of the same name.
    work
        Folder of our own, for what cannot be seen from here; made when it is needed.
    also_read
        Folders outside of the project that links may lead to.
    """

    def __init__(
        self, server: CryosparcServer, card: Card, claim: tuple[str, bytes], work: Path, also_read: Sequence[Path] = ()
    ) -> None:
        self._server = server
        self._card = card
        self._work = work
        self._folder = Path(server.project_directory(card.id.project))
        self._allowed = [self._folder.resolve(), *(folder.resolve() for folder in also_read)]
        job = self._folder / card.directory
        self.visible = _holds(job / claim[0], claim[1])
        # A link out of the project is somebody else's folder; the server may write there, this user does not.
        self.writable = self.visible and job.resolve().is_relative_to(self._allowed[0]) and _can_write(job)

    def here(self, path: str) -> Path:
        """Where a file of the project can be read from here; it is fetched if it has to be.

        Raises
        ------
        InputInvalid
            If it is none of the project's, or there is none.
        """
        relative = path_inside(path)
        if self.visible:
            found = self._folder / relative
            real = self._resolved(found)
            if not any(real.is_relative_to(folder) for folder in self._allowed):
                return self._fetched(relative, f"{found} leads out of the project, to {real}, and ")
            if not os.access(real, os.R_OK):
                return self._fetched(relative, f"{found} may not be read by this user, and ")
            if not stat.S_ISREG(real.stat().st_mode):
                raise InputInvalid(f"{found}: is no file; run the job again that it comes from")
            return found
        return self._fetched(relative, "")

    @property
    def output_folder(self) -> Path:
        """Where the daemon leaves its results: in the job's own folder where that can be written to.

        Raises
        ------
        InputInvalid
            If a link is there: members of the project could have this user write wherever they like; or a folder of
            somebody else's.
        """
        if not self.writable:
            return self._work / "out"
        folder = self._folder / self._card.directory / "cryobridge"
        if folder.is_symlink():
            raise InputInvalid(f"{folder}: is a link, and results are not written through one; remove it, start again")
        if folder.is_dir() and not _can_write(folder):
            raise InputInvalid(f"{folder}: may not be written to by this user; remove it, start again")
        return folder

    def folder_with(self, paths: Sequence[str]) -> Path:
        """The project's folder, for a job that reads these files of it by itself.

        Raises
        ------
        InputInvalid
            If it cannot be seen from here, or one of them is not in it or leads out of it.
        """
        if not self.visible:
            raise InputInvalid(f"{self._folder}: the folder of the project cannot be seen from this machine")
        for path in paths:
            found = self._folder / path_inside(path)
            try:
                real = found.resolve()
                there = real.is_file()
            except (OSError, RuntimeError):
                there = False
            if not there:
                raise InputInvalid(f"{found}: there is no such file; run the job that it comes from again")
            if not any(real.is_relative_to(folder) for folder in self._allowed):
                raise InputInvalid(
                    f"{found}: leads out of the project, to {real}; copy it into the project, or let the operator "
                    "allow its folder (--also-read)"
                )
        return self._folder

    @property
    def work(self) -> Path:
        """Folder of our own; made at the first call."""
        self._work.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self._work

    def _resolved(self, found: Path) -> Path:
        try:
            return found.resolve(strict=True)
        except PermissionError:
            # In a folder that cannot be looked into; where its links lead cannot be known, so the server is asked.
            return found.resolve()
        except (OSError, RuntimeError, ValueError) as error:
            # Links in a circle are a RuntimeError to pathlib; a name that no file can have is a ValueError.
            why = getattr(error, "strerror", None) or "its links lead in a circle, or its name cannot be"
            raise InputInvalid(f"{found}: {why}; the file that {self._card.id} needs is gone") from error

    def _fetched(self, relative: PurePosixPath, why: str) -> Path:
        """A copy of our own, whole or not at all; one that an earlier process has fetched is taken as it is."""
        target = self._work / "in" / relative
        if target.exists():
            return target
        try:
            self.work.joinpath("in", relative.parent).mkdir(parents=True, exist_ok=True)
            self._server.download(self._card.id.project, str(relative), target)
        except ServerRefused as error:
            what = f"{why}the server does not give it either" if why else f"{self._card.id} needs {relative}"
            raise InputInvalid(
                f"{what}: {error}; copy it into the project and run the job it comes from again, or let the operator "
                "allow its folder (--also-read)"
            ) from error
        except OSError as error:
            raise InputInvalid(
                f"{target}: {error.strerror} while {relative} was fetched; make room there, or set XDG_STATE_HOME to "
                "another disk"
            ) from error
        return target


def path_inside(path: str) -> PurePosixPath:
    """A path of a dataset, which is relative to the project's folder; exported files put a ">" before it.

    Raises
    ------
    InputInvalid
        If it leads out of there, or is none.
    """
    relative = PurePosixPath(path.removeprefix(">"))
    if (
        not path.strip()
        or len(path) > MAX_PATH_CHARACTERS
        or relative.is_absolute()
        or ".." in relative.parts
        or any(ord(letter) < 32 for letter in path)
    ):
        raise InputInvalid(f"{path[:200]!r} is no path inside of a project; run the job it comes from again")
    return relative


def _holds(path: Path, content: bytes) -> bool:
    try:
        return read_plain(path, len(content)) == content
    except OSError:
        return False


def _can_write(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
