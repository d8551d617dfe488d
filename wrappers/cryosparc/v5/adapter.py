"""CryoSPARC 5: one HTTP API, spoken to through `cryosparc-tools` 5.

What the client does by itself and must not do here is said in `one_try` (sending writes twice) and below.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any, Literal

from cryobridge.schemas.plain_file import open_plain

from ...formats.cs_table import Columns
from ...formats.whole_file import whole_file
from ..documents import Card, CardId, LiveSession, Source
from ..recipes import InputGroup, Slot
from ..sent_text import one_line, sendable
from ..server import Abilities, LogLevel, NotLoggedIn, ServerRefused
from .answered import NOT_FOUND, answered, api_error
from .documents import card_of, columns_of, session_of
from .one_try import http_client, poured, without_warnings
from .sinks import Beginning, IntoFile

API = "/api/cmd"
TIMEOUT_S = 60.0
_PAGE = 100
_FAR = timedelta(days=1)
_MOST_NAMED = 1000
"""So many lines of logs can be changed later; of an agent's cards of months the last."""


class V5Server:
    """A CryoSPARC 5 instance, as one of its users.

    Parameters
    ----------
    url
        As in a browser, without a path.
    email, password
        A user's; a token that was stored before is taken where there is no password.
    timeout_s
        Longest wait for an answer.

    Raises
    ------
    NotLoggedIn
        If there is no password and no token, or the server takes them no more.
    Unreachable
        If nobody answers.
    """

    abilities = Abilities()

    def __init__(self, url: str, email: str = "", password: str = "", *, timeout_s: float = TIMEOUT_S) -> None:
        without_warnings()
        # Registers the models that answers are read into.
        importlib.import_module("cryosparc.tools")
        self._url, self._email, self._password = url, email, password
        self._named: dict[tuple[CardId, str], str] = {}
        auth = _authentication(url, email, password)
        with answered(f"{url}: cannot be reached"):
            client = http_client(f"{url}{API}", timeout_s)
            api = importlib.import_module("cryosparc.api").APIClient(
                http_client=client, auth=auth, headers={"User-Agent": "cryobridge"}
            )
            self._api: Any = api
            me = api.users.me()
            self._version = str(api.config.get_version() or "")
        self._user = next((one.address for one in me.emails), email)

    @property
    def url(self) -> str:
        """Where it is, as in a browser."""
        return self._url

    @property
    def version(self) -> str:
        """Of CryoSPARC, e.g. v5.0.3."""
        return self._version

    @property
    def user(self) -> str:
        """E-mail address that it acts for."""
        return self._user

    def renew(self) -> None:
        """Log in again, with the password or the token that is stored now.

        Raises
        ------
        NotLoggedIn, Unreachable
            As at the beginning.
        """
        auth = _authentication(self._url, self._email, self._password)
        with answered(f"{self._url}: cannot be reached"):
            self._api(auth=auth)
            self._api.users.me()

    # ---- reading

    def project_directory(self, project: str) -> str:
        """Folder of a project on the server's machine."""
        with answered(f"{project}: its folder cannot be asked for"):
            return str(self._api.projects.get_directory(project))

    def card(self, card: CardId) -> Card:
        """A job as it is now."""
        with answered(f"{card}: cannot be read"):
            return card_of(self._api.jobs.find_one(card.project, card.job))

    def status(self, card: CardId) -> str:
        """Status of a job; far cheaper than `card`."""
        with answered(f"{card}: its status cannot be asked for"):
            return str(self._api.jobs.get_status(card.project, card.job))

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
        asked: dict[str, Any] = {
            "project_uid": sorted(projects),
            "type": ["snowflake"] if external else None,
            "status": sorted(statuses) or None,
            "uid": sorted({one.job for one in jobs}) or None,
            # There is no end of time to be had, and clocks differ.
            "updated_at": None if since is None else (since, max(since, since.now(since.tzinfo)) + _FAR),
        }
        with answered("jobs cannot be looked for"):
            # Without a project the server would look in all of them.
            found = [card_of(one) for one in self._pages(self._api.jobs.find, asked)] if projects else []
        return [one for one in found if not jobs or one.id in jobs]

    def tags(self) -> dict[str, str]:
        """Titles of the tags of jobs and Live sessions, by their ids."""
        asked = {"type": ["general", "job", "session"]}
        with answered("tags cannot be looked for"):
            return {one.uid: one.title for one in self._pages(self._api.tags.find, asked)}

    def sessions(self, projects: Sequence[str]) -> list[LiveSession]:
        """Live sessions of these projects that are running."""
        asked = {"project_uid": sorted(projects), "status": ["running"]}
        with answered("Live sessions cannot be looked for"):
            return [session_of(one) for one in self._pages(self._api.sessions.find, asked)] if projects else []

    def _pages(self, find: Callable[..., Any], asked: Mapping[str, Any]) -> Iterator[Any]:
        """All that is found, page by page."""
        after = None
        while True:
            page = find(order=1, after=after, limit=_PAGE, **asked)
            yield from page
            if len(page) < _PAGE or page[-1].id == after:
                return
            after = page[-1].id

    def load_input(self, card: CardId, name: str, slots: Sequence[str]) -> Columns:
        """What is connected to an input, the slots under the input's own names."""
        with answered(f"{card}: what is connected to '{name}' cannot be read"):
            return columns_of(self._api.jobs.load_input(card.project, card.job, name, slots=list(slots) or "all"))

    def load_output(self, card: CardId, name: str) -> Columns:
        """What a job has saved, what was passed through included."""
        with answered(f"{card}: its output '{name}' cannot be read"):
            return columns_of(self._api.jobs.load_output(card.project, card.job, name, slots="all"))

    def output_fields(self, card: CardId, name: str) -> list[tuple[str, str]]:
        """Columns that an output must have, with their types, e.g. ("map/psize_A", "f4")."""
        with answered(f"{card}: the columns of its output '{name}' cannot be asked for"):
            found = self._api.jobs.get_output_fields(card.project, card.job, name, {})
            return [(str(column), str(dtype)) for column, dtype in found]

    def download(self, project: str, path: str, target: Path) -> None:
        """Copy a file of the project here, whole or not at all."""
        doing = f"{project}: {path} cannot be downloaded"
        with whole_file(target) as descriptor, answered(doing), poured(IntoFile(descriptor)):
            self._api.projects.download_file(project, path=path)

    def read(self, project: str, path: str, limit: int) -> bytes | None:
        """A small file of the project, at most `limit` bytes of it; None where there is none."""
        try:
            beginning = Beginning(limit)
            with answered(f"{project}: {path} cannot be read"), poured(beginning):
                self._api.projects.download_file(project, path=path)
            return bytes(beginning.content)
        except ServerRefused as error:
            if error.status == NOT_FOUND:
                return None
            raise

    # ---- what may be done twice

    def add_input(self, card: CardId, group: InputGroup) -> None:
        """Declare an input."""
        spec = importlib.import_module("cryosparc.models.job_spec")
        slots = [spec.InputSlot(name=one.name, dtype=one.dtype, required=one.required) for one in group.slots]
        declared = spec.InputSpec(
            type=group.type, title=group.title, slots=slots, count_min=int(group.required), count_max=1
        )
        with answered(f"{card}: its input '{group.name}' cannot be declared"):
            self._api.jobs.add_external_input(card.project, card.job, group.name, declared)

    def add_output(
        self, card: CardId, name: str, type_: str, slots: Sequence[Slot], title: str, passthrough: str | None
    ) -> None:
        """Declare an output."""
        spec = importlib.import_module("cryosparc.models.job_spec")
        declared = spec.OutputSpec(
            type=type_,
            title=title,
            slots=[spec.OutputSlot(name=one.name, dtype=one.dtype) for one in slots],
            passthrough=passthrough,
        )
        with answered(f"{card}: its output '{name}' cannot be declared"):
            self._api.jobs.add_external_output(card.project, card.job, name, declared)

    def save_output(self, card: CardId, name: str, columns: Columns) -> None:
        """Save an output; its passed-through slots are joined by the server, on "uid"."""
        dataset = importlib.import_module("cryosparc.dataset").Dataset(dict(columns))
        with answered(f"{card}: its output '{name}' cannot be saved"):
            self._api.jobs.save_output(card.project, card.job, name, dataset, version=0)

    def start(self, card: CardId, status: Literal["running", "waiting"]) -> None:
        """Say that work on it begins, or that it waits."""
        with answered(f"{card}: cannot be marked {status}"):
            self._api.jobs.mark_running(card.project, card.job, status=status)

    def finish(self, card: CardId) -> None:
        """Say that it is done. The caller has looked at its status."""
        with answered(f"{card}: cannot be marked completed"):
            self._api.jobs.mark_completed(card.project, card.job)

    def fail(self, card: CardId, sentence: str) -> None:
        """Say that it failed, in one short line."""
        with answered(f"{card}: cannot be marked failed"):
            self._api.jobs.mark_failed(card.project, card.job, error=one_line(sentence))

    def set_title(self, card: CardId, title: str) -> None:
        """Call it otherwise."""
        with answered(f"{card}: its title cannot be changed"):
            self._api.jobs.set_title(card.project, card.job, title=one_line(title))

    def set_description(self, card: CardId, description: str) -> None:
        """Describe it otherwise."""
        with answered(f"{card}: its description cannot be changed"):
            self._api.jobs.set_description(card.project, card.job, sendable(description))

    def set_tile(self, card: CardId, png: bytes) -> None:
        """Give it the picture that stands for it."""
        with answered(f"{card}: its tile cannot be set"):
            self._api.jobs.set_tile_image(card.project, card.job, self._asset(card, "tile0.png", png))

    def set_output_image(self, card: CardId, output: str, png: bytes) -> None:
        """Give an output the picture that stands for it."""
        with answered(f"{card}: the picture of its output '{output}' cannot be set"):
            asset = self._asset(card, f"{output}.png", png)
            self._api.jobs.set_output_image(card.project, card.job, output, asset)

    # ---- what is done once more where it was done already

    def create(self, project: str, workspace: str, title: str, description: str) -> CardId:
        """Make an external job, or none. After `Unreachable` look for it before asking again."""
        with answered(f"{project}: a job in {workspace} cannot be made"):
            made = self._api.jobs.create(
                project, workspace, type="snowflake", title=one_line(title), description=one_line(description)
            )
            return CardId(made.project_uid, made.uid)

    def connect(self, card: CardId, name: str, source: Source) -> None:
        """Connect an output of a job to an input."""
        with answered(f"{card}: its input '{name}' cannot be connected to {source.job}:{source.output}"):
            self._api.jobs.connect(
                card.project, card.job, name, source_job_uid=source.job, source_output_name=source.output
            )

    def log(self, card: CardId, text: str, level: LogLevel = "text", name: str | None = None) -> None:
        """Add a line to its log; one of a name takes the place of the last of that name."""
        known = self._named.get((card, name)) if name else None
        with answered(f"{card}: a line of its log cannot be written"):
            if known is not None:
                try:
                    self._api.jobs.update_event_log(card.project, card.job, known, text, type=level)
                except api_error() as error:
                    if error.code != NOT_FOUND:
                        raise
                else:
                    return
            event = self._api.jobs.add_event_log(card.project, card.job, text, type=level)
            if name:
                self._remember(card, name, event.id)

    def checkpoint(self, card: CardId, facts: Mapping[str, object]) -> None:
        """Begin a new part of its log."""
        with answered(f"{card}: its log cannot be written"):
            self._api.jobs.add_checkpoint(card.project, card.job, dict(facts))
        # Cards are worked on in threads.
        for one in [one for one in list(self._named) if one[0] == card]:
            self._named.pop(one, None)

    def _remember(self, card: CardId, name: str, event: str) -> None:
        self._named[card, name] = event
        for one in list(self._named)[:-_MOST_NAMED]:
            self._named.pop(one, None)

    def plot(self, card: CardId, title: str, png: bytes, table: bytes | None) -> None:
        """Add a picture to its log, and the numbers behind it (CSV)."""
        # It travels in the URL.
        name = re.sub(r"[^A-Za-z0-9]+", "_", title).strip("_")[:80]
        with answered(f"{card}: the picture '{title}' cannot be sent"):
            assets = [self._asset(card, f"{name}.png", png)]
            assets += [] if table is None else [self._asset(card, f"{name}.csv", table)]
            self._api.jobs.add_image_log(card.project, card.job, assets, text=one_line(title), flags=["plots"])

    def upload(self, card: CardId, name: str, content: bytes | Path, *, overwrite: bool) -> None:
        """Write a file into its folder. What arrives is not known to be whole: whoever needs it looks."""
        stream = importlib.import_module("cryosparc.stream").Stream
        with answered(f"{card}: {name} cannot be uploaded"), _opened(content) as file:
            path = f"{card.job}/{name}"
            self._api.projects.upload_file(card.project, stream.load(file), path=path, overwrite=overwrite)

    def _asset(self, card: CardId, filename: str, content: bytes) -> Any:
        stream = importlib.import_module("cryosparc.stream").Stream
        form = filename.rpartition(".")[2]
        body = stream.load(io.BytesIO(content))
        return self._api.assets.upload(card.project, card.job, body, filename=filename, format=form)


def _authentication(url: str, email: str, password: str) -> str | tuple[str, str]:
    """What the server takes: an address with the digest of a password, or a token that was stored."""
    if email and password:
        return email, hashlib.sha256(password.encode()).hexdigest()
    session = importlib.import_module("cryosparc.auth").InstanceAuthSessions.load().find(url, email or None)
    if session is None:
        raise NotLoggedIn(
            f"{url}: there is no token, or it has expired; log in: cryobridge cryosparc login --url {url}"
        )
    return str(session.token.access_token)


@contextlib.contextmanager
def _opened(content: bytes | Path) -> Iterator[IO[bytes]]:
    if isinstance(content, bytes):
        yield io.BytesIO(content)
        return
    with os.fdopen(open_plain(content), "rb") as file:
        yield file
