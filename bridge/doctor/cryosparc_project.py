"""Checks of a project of CryoSPARC: its folder as seen from here and by the daemon, and a card from birth to end."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cryobridge.schemas.errors import CryobridgeError
from cryobridge.wrappers.cryosparc.card.project_folder import FolderSeen, look_at_folder
from cryobridge.wrappers.cryosparc.card.scratch_card import TRIAL_PATIENCE, ScratchCard
from cryobridge.wrappers.cryosparc.documents import ACTIVE
from cryobridge.wrappers.cryosparc.patience import CardPatience
from cryobridge.wrappers.cryosparc.server import CryosparcServer

from .finding import Finding, Level

_PROJECT, _CARD = "project", "scratch card"
_SLOWLY = "files go through the server, which takes longer"


def check_folder(server: CryosparcServer, project: str) -> Iterator[Finding]:
    """A project's folder can be read and written to from here; jobs on it run as this user."""
    try:
        seen = look_at_folder(server, project)
    except CryobridgeError as error:
        yield Finding(_PROJECT, Level.FAIL, str(error), f"is that the project's id, and may {server.user} open it?")
        return
    yield _as_seen(project, seen)


def _as_seen(project: str, seen: FolderSeen) -> Finding:
    """How a project's folder looks from here."""
    host = socket.gethostname()
    if not seen.there:
        return Finding(
            _PROJECT,
            Level.WARN,
            f"{project}: its folder {seen.path} is not there on {host}: {_SLOWLY}",
            f"mount it on {host} under the same path, or leave it so",
        )
    if not seen.readable:
        return Finding(
            _PROJECT,
            Level.WARN,
            f"{project}: its folder {seen.path} may not be read by this user: {_SLOWLY}",
            "put this user into the group that CryoSPARC's folders belong to",
        )
    if seen.same is False:
        return Finding(
            _PROJECT,
            Level.WARN,
            f"{project}: {seen.path} on {host} is not the folder that the server has under this name: {_SLOWLY}",
            "mount the server's own there, or leave it so",
        )
    if not seen.writable:
        return Finding(
            _PROJECT,
            Level.WARN,
            f"{project}: its folder {seen.path} cannot be written to by this user: results go through the server",
            "put this user into the group that CryoSPARC's folders belong to, or leave it so; "
            "whether it is the server's own folder is seen with --workspace",
        )
    if seen.same is None:
        return Finding(
            _PROJECT,
            Level.WARN,
            f"{project}: a file in its folder {seen.path} could not be read through the server",
            "with --workspace a card shows whether it is the server's own folder",
        )
    return Finding(
        _PROJECT, Level.OK, f"{project}: its folder {seen.path} is the server's own, and can be read and written to"
    )


def check_card(
    server: CryosparcServer,
    project: str,
    workspace: str,
    patience: CardPatience = TRIAL_PATIENCE,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Finding]:
    """A card can be made, described, begun, written to and ended; it is left completed or failed."""
    problem: CryobridgeError | None = None
    with tempfile.TemporaryDirectory(prefix="cryobridge-doctor-") as work:
        trial = ScratchCard(server, project, workspace, Path(work), patience, sleep)
        whole = False
        try:
            for step in trial.steps():
                yield Finding(_CARD, Level.OK, step())
            whole = True
        except CryobridgeError as error:
            problem = error
        finally:
            # However it ends, also by Ctrl-C.
            status = "" if whole or trial.card is None else trial.end(f"cryobridge doctor: {problem or 'stopped'}")
        yield from _seen_here(trial)
    if problem is not None:
        yield Finding(_CARD, Level.FAIL, str(problem), _what_is_left(trial, workspace, status))
    else:
        yield Finding(_CARD, Level.OK, f"all that a card needs works; {trial.card} may be deleted")


def _what_is_left(trial: ScratchCard, workspace: str, status: str) -> str:
    if trial.card is None:
        return f"nothing should be left in {workspace}"
    if not status or status in ACTIVE:
        return f"{trial.card} could not be marked failed either and may still say running: kill it in CryoSPARC"
    return f"{trial.card} is {status} and may be deleted"


def _seen_here(trial: ScratchCard) -> Iterator[Finding]:
    """Whether what was sent through the server is seen here: the same test as for each card."""
    files, folder = trial.files, trial.folder
    if files is None or folder is None:
        return
    if not files.visible:
        yield Finding(_CARD, Level.WARN, f"the file that was sent is not seen here in {folder}: {_SLOWLY}")
    elif not files.writable:
        yield Finding(
            _CARD, Level.WARN, f"{folder} is seen here, but cannot be written to: results go through the server"
        )
    else:
        yield Finding(_CARD, Level.OK, f"{folder} is seen here and can be written to")
