"""A CryoSPARC server as the bridge sees it: the few things that are asked of it, whatever its version.

An adapter says what happened in one of three ways: it worked, the server refused (`ServerRefused`: asking again helps
nothing), or nothing is known (`Unreachable`: it may have been done or not). Whoever writes asks again only what may be
done twice, and looks first where it may not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from cryobridge.schemas.codes import Code
from cryobridge.schemas.errors import CryobridgeError

from ..formats.cs_table import Columns
from .documents import Card, CardId, LiveSession, Source
from .recipes import InputGroup, Slot

LogLevel = Literal["text", "warning", "error"]
UNAUTHORISED, NOT_FOUND, CONFLICT = 401, 404, 409
PASSING = (429, 502, 503, 504)
"""What a busy server says, or a proxy while the one behind it starts again: nothing is known, it may be done."""


class ServerRefused(CryobridgeError):  # noqa: N818
    """The server answered, and said no.

    Attributes
    ----------
    status
        HTTP's; 0 where there is none.
    """

    code = Code.REJECTED

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class Unreachable(CryobridgeError):  # noqa: N818
    """No answer came: what was asked for may have been done or not."""

    code = Code.LOST


class NotLoggedIn(CryobridgeError):  # noqa: N818
    """There is no token, or the server takes it no more."""

    code = Code.REJECTED


@dataclass(frozen=True)
class Abilities:
    """What not every version of CryoSPARC can do; where it cannot, the bridge does otherwise.

    Attributes
    ----------
    edits_lines
        A line of a log can be changed; where not, each word of progress is a line more.
    edits_descriptions
        A description can be changed by a program; where not, it is given whole when the job is made.
    has_tags
        Jobs can be given tags.
    has_live_sessions
        Live sessions can be looked for.
    """

    edits_lines: bool = True
    edits_descriptions: bool = True
    has_tags: bool = True
    has_live_sessions: bool = True


class CryosparcServer(Protocol):
    """One CryoSPARC instance, as one of its users."""

    @property
    def abilities(self) -> Abilities:
        """What its version can do."""

    @property
    def url(self) -> str:
        """Where it is, as in a browser."""

    @property
    def version(self) -> str:
        """Of CryoSPARC, e.g. v5.0.3."""

    @property
    def user(self) -> str:
        """E-mail address that it acts for."""

    def renew(self) -> None:
        """Log in again, with the password or the token that is stored now."""

    # ---- reading

    def project_directory(self, project: str) -> str:
        """Folder of a project on the server's machine."""

    def card(self, card: CardId) -> Card:
        """A job as it is now."""

    def status(self, card: CardId) -> str:
        """Status of a job; far cheaper than `card`."""

    def find(
        self,
        projects: Sequence[str],
        *,
        statuses: Collection[str] = (),
        jobs: Collection[CardId] = (),
        since: datetime | None = None,
        external: bool = True,
    ) -> list[Card]:
        """Jobs of these projects; of these statuses, of these ids, changed since then, external ones, where given."""

    def tags(self) -> dict[str, str]:
        """Titles of the tags of jobs and Live sessions, by their ids."""

    def sessions(self, projects: Sequence[str]) -> list[LiveSession]:
        """Live sessions of these projects that are running; none where the server's version does not tell."""

    def load_input(self, card: CardId, name: str, slots: Sequence[str]) -> Columns:
        """What is connected to an input, the slots under the input's own names."""

    def load_output(self, card: CardId, name: str) -> Columns:
        """What a job has saved, what was passed through included."""

    def output_fields(self, card: CardId, name: str) -> list[tuple[str, str]]:
        """Columns that an output must have, with their types, e.g. ("map/psize_A", "f4")."""

    def download(self, project: str, path: str, target: Path) -> None:
        """Copy a file of the project here, whole or not at all."""

    def read(self, project: str, path: str, limit: int) -> bytes | None:
        """A small file of the project, at most `limit` bytes of it; None where there is none."""

    # ---- what may be done twice

    def add_input(self, card: CardId, group: InputGroup) -> None:
        """Declare an input."""

    def add_output(
        self, card: CardId, name: str, type_: str, slots: Sequence[Slot], title: str, passthrough: str | None
    ) -> None:
        """Declare an output."""

    def save_output(self, card: CardId, name: str, columns: Columns) -> None:
        """Save an output; its passed-through slots are joined by the server, on "uid"."""

    def start(self, card: CardId, status: Literal["running", "waiting"]) -> None:
        """Say that work on it begins, or that it waits."""

    def finish(self, card: CardId) -> None:
        """Say that it is done. The caller has looked at its status."""

    def fail(self, card: CardId, sentence: str) -> None:
        """Say that it failed, in one short line."""

    def set_description(self, card: CardId, description: str) -> None:
        """Describe it otherwise."""

    def set_tile(self, card: CardId, png: bytes) -> None:
        """Give it the picture that stands for it."""

    def set_output_image(self, card: CardId, output: str, png: bytes) -> None:
        """Give an output the picture that stands for it."""

    # ---- what is done once more where it was done already

    def create(self, project: str, workspace: str, title: str, description: str) -> CardId:
        """Make an external job, or none. After `Unreachable` look for it before asking again."""

    def connect(self, card: CardId, name: str, source: Source) -> None:
        """Connect an output of a job to an input."""

    def log(self, card: CardId, text: str, level: LogLevel = "text", name: str | None = None) -> None:
        """Add a line to its log; one of a name takes the place of the last of that name."""

    def checkpoint(self, card: CardId, facts: Mapping[str, object]) -> None:
        """Begin a new part of its log."""

    def plot(self, card: CardId, title: str, png: bytes, table: bytes | None) -> None:
        """Add a picture to its log, and the numbers behind it (CSV)."""

    def upload(self, card: CardId, name: str, content: bytes | Path, *, overwrite: bool) -> None:
        """Write a file into its folder. What arrives is not known to be whole: whoever needs it looks.

        Raises
        ------
        ServerRefused
            With the status 409 where it is there already and may not be replaced.
        """
