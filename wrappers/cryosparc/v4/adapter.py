"""CryoSPARC 4, spoken to through `cryosparc-tools` 4.

What it lacks beside 5: a search for jobs (only cards that were made from here are known, see `made_cards`), tags,
pictures of jobs and outputs, lines of a log that change, and descriptions that a program can change.

Not tried on a real instance; agrees with the client's source 4.7.1, and with a fake of it in the tests.
"""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from ...formats.cs_table import Columns, joined
from ..documents import ACTIVE, Card, CardId, LiveSession, Source, source_of
from ..options_block import mark_in
from ..recipes import InputGroup, Slot
from ..server import NOT_FOUND, Abilities, LogLevel, NotLoggedIn, ServerRefused
from .calls import TIMEOUT_S, Calls, answered
from .creation import newest_job
from .documents import (
    Document,
    card_of,
    fingerprint,
    input_slots,
    output_fields,
    output_slots,
    output_tables,
    own_slots,
)
from .files import V4Files
from .known import KnownCards
from .login import V4Login, place_of
from .made_cards import Asked, MadeCards
from .tables import MAX_BYTES, copied, stream_of, table_of

log = logging.getLogger(__name__)


class V4Server:
    """A CryoSPARC 4 instance, as one of its users.

    Not tried on a real instance; agrees with the client's source 4.7.1.

    Parameters
    ----------
    url
        As in a browser; its services are at ports above.
    login
        Licence ID, e-mail address and password.
    made
        Notes of the cards that were made here.
    timeout_s
        Longest wait for an answer.

    Raises
    ------
    NotLoggedIn
        If the licence ID or the password is not taken.
    Unreachable
        If nobody answers.
    """

    abilities = Abilities(edits_lines=False, edits_descriptions=False, has_tags=False, has_live_sessions=False)

    def __init__(self, url: str, login: V4Login, made: MadeCards, *, timeout_s: float = TIMEOUT_S) -> None:
        self._url, self._login = url, login
        self._calls = Calls(*place_of(url), login.license_id, timeout_s)
        self._files = V4Files(self._calls)
        self._known = KnownCards(made, self._document, lambda project: newest_job(self._calls, project))
        self._lock = threading.Lock()
        self._seen: dict[CardId, tuple[bytes, datetime]] = {}
        self.renew()
        with answered(f"{url}: its version cannot be asked for"):
            self._version = str(self._calls.core("get_running_version") or "")

    @property
    def url(self) -> str:
        """Where it is, as in a browser."""
        return self._url

    @property
    def version(self) -> str:
        """Of CryoSPARC, e.g. v4.7.1."""
        return self._version

    @property
    def user(self) -> str:
        """E-mail address that it acts for."""
        return self._login.email

    def renew(self) -> None:
        """Show the password again.

        Raises
        ------
        NotLoggedIn, Unreachable
            As at the beginning.
        """
        login = self._login
        try:
            with answered(f"{self._url}: cannot be reached"):
                user_id = self._calls.core("get_id_by_email_password", login.email, login.password)
                if not isinstance(user_id, str) or not user_id:
                    raise ServerRefused("there is no such user")
                self._user_id = user_id
        except (ServerRefused, NotLoggedIn):
            # What the server says of it may hold the password.
            raise NotLoggedIn(
                f"{self._url}: the server does not take the password of {login.email}; look at CRYOSPARC_EMAIL "
                "and CRYOSPARC_PASSWORD"
            ) from None

    # ---- reading

    def project_directory(self, project: str) -> str:
        """Folder of a project on the server's machine."""
        with answered(f"{project}: its folder cannot be asked for"):
            return str(self._calls.core("get_project_dir_abs", project))

    def card(self, card: CardId) -> Card:
        """A job as it is now."""
        return self._card(card, self._document(card))

    def status(self, card: CardId) -> str:
        """Status of a job."""
        with answered(f"{card}: its status cannot be asked for"):
            return str(self._document(card)["status"])

    def find(
        self,
        projects: Sequence[str],
        *,
        statuses: Collection[str] = (),
        jobs: Collection[CardId] = (),
        since: datetime | None = None,
        external: bool = True,
    ) -> list[Card]:
        """Jobs of these projects as `CryosparcServer.find`; of cards, only those that were made here.

        Raises
        ------
        ServerRefused
            If it cannot be known whether a card that this process asked for was made.
        """
        self._known.settle(projects)
        found = []
        for one in sorted(jobs or self._known.due(projects)):
            document = self._known.seen(one) if one.project in projects else None
            try:
                found += [] if document is None else [self._card(one, document)]
            except ServerRefused as error:
                # One that cannot be understood must not keep the others from their work.
                log.warning("%s", error)
        return [
            card
            for card in found
            if (card.is_external or not external)
            and (not statuses or card.status in statuses)
            and (since is None or card.updated_at >= since)
        ]

    def tags(self) -> dict[str, str]:
        """None: there are no tags that a program could read."""
        return {}

    def sessions(self, projects: Sequence[str]) -> list[LiveSession]:
        """None: they cannot be looked for."""
        return []

    def load_input(self, card: CardId, name: str, slots: Sequence[str]) -> Columns:
        """What is connected to an input, the slots under the input's own names."""
        asked = {"project_uid": card.project, "job_uid": card.job, "input_name": name, "slots": list(slots)}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "input.cs")
            with (
                answered(f"{card}: what is connected to '{name}' cannot be read"),
                self._calls.file("/load_job_input", asked) as answer,
            ):
                copied(answer, path, MAX_BYTES)
            return table_of(path, f"{card}: '{name}'")

    def load_output(self, card: CardId, name: str) -> Columns:
        """What a job has saved, what was passed through included: its tables fetched, and joined here."""
        with answered(f"{card}: its output '{name}' cannot be read"):
            own, passed = output_tables(self._document(card), name)
        if not own and not passed:
            raise ServerRefused(f"{card}: nothing is saved in its output '{name}'", NOT_FOUND)
        with tempfile.TemporaryDirectory() as folder:
            tables = []
            for number, path in enumerate([*own, *passed]):
                local = Path(folder, f"{number}.cs")
                self._files.fetch(card.project, path, local, MAX_BYTES)
                tables.append(table_of(local, f"{card}: {path}"))
            columns = tables[0]
            # One by one: what comes first is the job's own, and may be in what was passed through as it was before.
            for table in tables[1:]:
                columns = joined(columns, [table], f"{card}: output '{name}'")
            return columns

    def output_fields(self, card: CardId, name: str) -> list[tuple[str, str]]:
        """Columns that an output must have, with their types, e.g. ("map/psize_A", "f4")."""
        with answered(f"{card}: the columns of its output '{name}' cannot be asked for"):
            return output_fields(self._document(card), name)

    def download(self, project: str, path: str, target: Path) -> None:
        """Copy a file of the project here, whole or not at all."""
        self._files.fetch(project, path, target)

    def read(self, project: str, path: str, limit: int) -> bytes | None:
        """A small file of the project, at most `limit` bytes of it; None where there is none."""
        return self._files.read(project, path, limit)

    # ---- what may be done twice

    def add_input(self, card: CardId, group: InputGroup) -> None:
        """Declare an input, unless it is there: whether declaring it again makes a second is not known."""
        if group.name in self.card(card).inputs:
            return
        with answered(f"{card}: its input '{group.name}' cannot be declared"):
            self._calls.vis(
                "add_external_job_input",
                project_uid=card.project,
                job_uid=card.job,
                type=group.type,
                name=group.name,
                min=int(group.required),
                max=1,
                slots=input_slots(group),
                title=group.title,
            )

    def add_output(
        self, card: CardId, name: str, type_: str, slots: Sequence[Slot], title: str, passthrough: str | None
    ) -> None:
        """Declare an output, unless it is there."""
        with answered(f"{card}: its output '{name}' cannot be declared"):
            if own_slots(self._document(card), name) == {one.name for one in slots}:
                return
            self._calls.vis(
                "add_external_job_output",
                project_uid=card.project,
                job_uid=card.job,
                type=type_,
                name=name,
                slots=output_slots(slots),
                passthrough=passthrough,
                title=title,
            )

    def save_output(self, card: CardId, name: str, columns: Columns) -> None:
        """Save an output; its passed-through slots are joined by the server, on "uid"."""
        path = f"/external/projects/{card.project}/jobs/{card.job}/outputs/{quote(name, safe='')}/dataset"
        with answered(f"{card}: its output '{name}' cannot be saved"):
            self._calls.send(path, {}, stream_of(columns))

    def start(self, card: CardId, status: Literal["running", "waiting"]) -> None:
        """Say that work on it begins, or that it waits; one that is at work and cannot be told so stays as it is."""
        try:
            with answered(f"{card}: cannot be marked {status}"):
                self._calls.core("run_external_job", card.project, card.job, status)
        except ServerRefused as error:
            # The client itself never tells a job that waits to run.
            now = self.status(card)
            if now not in ACTIVE:
                raise
            log.info("%s stays marked %s while it is worked on (%s)", card, now, error)

    def finish(self, card: CardId) -> None:
        """Say that it is done. The caller has looked at its status."""
        self._end(card, "completed")

    def fail(self, card: CardId, sentence: str) -> None:
        """Say that it failed; why cannot be told here, so it has to stand in its log."""
        self._end(card, "failed")

    def set_description(self, card: CardId, description: str) -> None:
        """Not done: the client has no such call, so it is given when the card is made."""

    def set_tile(self, card: CardId, png: bytes) -> None:
        """Not done: jobs have no such picture."""

    def set_output_image(self, card: CardId, output: str, png: bytes) -> None:
        """Not done: outputs have no such picture."""

    # ---- what is done once more where it was done already

    def create(self, project: str, workspace: str, title: str, description: str) -> CardId:
        """Make an external job, or none. After `Unreachable` look for it (`find`) before asking again."""
        mark = mark_in(description)
        # Without a mark it could not be told from others.
        asked = Asked(project, workspace, title, mark, newest_job(self._calls, project) if mark else None)
        with self._known.asking(asked) as note, answered(f"{project}: a job in {workspace} cannot be made"):
            job = self._calls.vis(
                "create_external_job",
                project_uid=project,
                workspace_uid=workspace,
                user=self._user_id,
                title=title,
                desc=description,
            )
            # It becomes the name of a file here.
            card = CardId(project, source_of(str(job)).job)
            note(card)
        return card

    def connect(self, card: CardId, name: str, source: Source) -> None:
        """Connect an output of a job to an input."""
        with answered(f"{card}: its input '{name}' cannot be connected to {source.job}:{source.output}"):
            self._calls.vis(
                "connect_external_job",
                project_uid=card.project,
                source_job_uid=source.job,
                source_output=source.output,
                target_job_uid=card.job,
                target_input=name,
                slots=[],
                title="",
                desc="",
            )

    def log(self, card: CardId, text: str, level: LogLevel = "text", name: str | None = None) -> None:
        """Add a line to its log; the name is not looked at, since no line can be changed."""
        self._say(card, message=text, error=level != "text")

    def checkpoint(self, card: CardId, facts: Mapping[str, object]) -> None:
        """Begin a new part of its log."""
        with answered(f"{card}: its log cannot be written"):
            self._calls.core("job_checkpoint_streamlog", project_uid=card.project, job_uid=card.job, meta=dict(facts))

    def plot(self, card: CardId, title: str, png: bytes, table: bytes | None) -> None:
        """Add a picture to its log, and the numbers behind it (CSV)."""
        name = "".join(letter if letter.isalnum() else "_" for letter in title)[:80]
        assets = [self._files.asset(card, f"{name}.png", png)]
        assets += [] if table is None else [self._files.asset(card, f"{name}.csv", table)]
        self._say(card, message=title, flags=["plots"], imgfiles=assets)

    def upload(self, card: CardId, name: str, content: bytes | Path, *, overwrite: bool) -> None:
        """Write a file into its folder. What arrives is not known to be whole: whoever needs it looks."""
        self._files.upload(card, name, content, overwrite=overwrite)

    # ---- documents

    def _document(self, card: CardId) -> Document:
        with answered(f"{card}: cannot be read"):
            document = self._calls.core("get_job", card.project, card.job)
        if not isinstance(document, dict):
            raise ServerRefused(f"{card}: there is no such job", NOT_FOUND)
        return document

    def _card(self, card: CardId, document: Document) -> Card:
        now = fingerprint(document)
        with self._lock:
            if card not in self._seen or self._seen[card][0] != now:
                self._seen[card] = (now, datetime.now(UTC))
            updated_at = self._seen[card][1]
        with answered(f"{card}: cannot be read"):
            return card_of(card, document, updated_at)

    # ---- words

    def _say(self, card: CardId, **said: object) -> None:
        with answered(f"{card}: a line of its log cannot be written"):
            self._calls.core("job_send_streamlog", project_uid=card.project, job_uid=card.job, **said)

    def _end(self, card: CardId, status: str) -> None:
        with answered(f"{card}: cannot be marked {status}"):
            self._calls.core("set_job_status", card.project, card.job, status)
