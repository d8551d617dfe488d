"""A CryoSPARC server in memory, for tests of what speaks to one; its answers can be lost before or after the deed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryobridge.wrappers.cryosparc.documents import Card, CardId, CardInput, CardOutput, Source
from cryobridge.wrappers.cryosparc.server import Abilities, ServerRefused, Unreachable

CARD = CardId("P1", "J5")


def card_of(card: CardId = CARD, **changes: Any) -> Card:
    """An external job that nothing is known of but what is given."""
    plain = Card(
        id=card,
        type="snowflake",
        title="a card",
        description="",
        status="building",
        directory=card.job,
        tags=(),
        inputs={},
        outputs={},
        complaints=(),
        updated_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return replace(plain, **changes)


def volume_input(*results: str, job: str = "J1", output: str = "volume") -> CardInput:
    """An input of a card that one output of a job is connected to."""
    return CardInput((Source(job, output, results),))


def volume_output(*results: str, type_: str = "volume") -> CardOutput:
    """An output with these results."""
    return CardOutput(type_, results)


@dataclass
class FakeCryosparc:
    """A server (`wrappers.cryosparc.server.CryosparcServer`) as far as tests ask it something.

    Attributes
    ----------
    faults
        By operation, what its next calls do: "before" and "after" lose the answer, an error is raised, a function is
        called with what was written and gives what arrives.
    """

    folder: Path = Path("/nonexistent")
    url: str = "http://127.0.0.1:39000"
    version: str = "v5.0.3"
    user: str = "bridge@example.org"
    cards: dict[CardId, Card] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    logged: list[tuple[str, str, str | None]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    faults: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    fields: list[tuple[str, str]] = field(default_factory=list)
    connected: dict[str, dict[str, Any]] = field(default_factory=dict)
    renewals: int = 0
    abilities: Abilities = field(default_factory=Abilities)

    @contextmanager
    def _asked(self, operation: str) -> Iterator[None]:
        self.calls.append(operation)
        fault = self.faults[operation].pop(0) if self.faults[operation] else None
        if fault == "before":
            raise Unreachable(f"{operation}: the connection broke")
        if isinstance(fault, BaseException):
            raise fault
        yield
        if fault == "after":
            raise Unreachable(f"{operation}: the connection broke")

    def renew(self) -> None:
        with self._asked("renew"):
            self.renewals += 1

    def project_directory(self, project: str) -> str:
        with self._asked("project_directory"):
            return str(self.folder)

    def card(self, card: CardId) -> Card:
        with self._asked("card"):
            if card not in self.cards:
                raise ServerRefused(f"{card}: not found (HTTP 404)", 404)
            return self.cards[card]

    def status(self, card: CardId) -> str:
        with self._asked("status"):
            return self.cards[card].status

    def find(
        self,
        projects: Sequence[str],
        *,
        statuses: Collection[str] = (),
        jobs: Collection[CardId] = (),
        since: datetime | None = None,
        external: bool = True,
    ) -> list[Card]:
        with self._asked("find"):
            return [
                one
                for one in self.cards.values()
                if one.id.project in projects
                and (not statuses or one.status in statuses)
                and (not jobs or one.id in jobs)
                and (since is None or one.updated_at >= since)
                and (one.is_external or not external)
            ]

    def tags(self) -> dict[str, str]:
        with self._asked("tags"):
            return {}

    def load_input(self, card: CardId, name: str, slots: Sequence[str]) -> dict[str, Any]:
        with self._asked("load_input"):
            return self.connected[name]

    def load_output(self, card: CardId, name: str) -> dict[str, Any]:
        with self._asked("load_output"):
            return self.outputs[name]

    def output_fields(self, card: CardId, name: str) -> list[tuple[str, str]]:
        with self._asked("output_fields"):
            return list(self.fields)

    def download(self, project: str, path: str, target: Path) -> None:
        with self._asked("download"):
            if path not in self.files:
                raise ServerRefused(f"{project}: {path} cannot be downloaded: no file (HTTP 404)", 404)
            target.write_bytes(self.files[path])

    def read(self, project: str, path: str, limit: int) -> bytes | None:
        with self._asked("read"):
            found = self.files.get(path)
            return None if found is None else found[:limit]

    def add_input(self, card: CardId, group: Any) -> None:
        with self._asked("add_input"):
            self._change(card, inputs=lambda now: now | {group.name: CardInput(())})

    def add_output(self, card: CardId, name: str, type_: str, slots: Any, title: str, passthrough: str | None) -> None:
        with self._asked("add_output"):
            pass

    def save_output(self, card: CardId, name: str, columns: Mapping[str, Any]) -> None:
        fault = self.faults["arrives"].pop(0) if self.faults["arrives"] else dict
        with self._asked("save_output"):
            self.outputs[name] = fault(columns)

    def start(self, card: CardId, status: str) -> None:
        with self._asked("start"):
            self._change(card, status=lambda _: status)

    def finish(self, card: CardId) -> None:
        with self._asked("finish"):
            self._change(card, status=lambda _: "completed")

    def fail(self, card: CardId, sentence: str) -> None:
        with self._asked("fail"):
            self._change(card, status=lambda _: "failed")

    def set_description(self, card: CardId, description: str) -> None:
        with self._asked("set_description"):
            self._change(card, description=lambda _: description)

    def set_tile(self, card: CardId, png: bytes) -> None:
        with self._asked("set_tile"):
            pass

    def set_output_image(self, card: CardId, output: str, png: bytes) -> None:
        with self._asked("set_output_image"):
            pass

    def create(self, project: str, workspace: str, title: str, description: str) -> CardId:
        with self._asked("create"):
            made = CardId(project, f"J{1 + max((int(one.job[1:]) for one in self.cards), default=0)}")
            self.cards[made] = card_of(made, title=title, description=description)
        return made

    def connect(self, card: CardId, name: str, source: Source) -> None:
        with self._asked("connect"):
            results = self.cards[CardId(card.project, source.job)].outputs[source.output].results
            more = Source(source.job, source.output, results)
            one = self.cards[card].inputs[name]
            self._change(card, inputs=lambda now: now | {name: replace(one, sources=(*one.sources, more))})

    def log(self, card: CardId, text: str, level: str = "text", name: str | None = None) -> None:
        with self._asked("log"):
            self.logged.append((text, level, name))

    def checkpoint(self, card: CardId, facts: Mapping[str, object]) -> None:
        with self._asked("checkpoint"):
            pass

    def plot(self, card: CardId, title: str, png: bytes, table: bytes | None) -> None:
        with self._asked("plot"):
            pass

    def upload(self, card: CardId, name: str, content: bytes | Path, *, overwrite: bool) -> None:
        path = f"{card.job}/{name}"
        arrives: Callable[[bytes], bytes] = self.faults["arrives"].pop(0) if self.faults["arrives"] else bytes
        with self._asked("upload"):
            if path in self.files and not overwrite:
                raise ServerRefused(f"{path} already exists (HTTP 409)", 409)
            self.files[path] = arrives(content if isinstance(content, bytes) else content.read_bytes())

    def _change(self, card: CardId, **changes: Callable[[Any], Any]) -> None:
        now = self.cards[card]
        self.cards[card] = replace(now, **{key: change(getattr(now, key)) for key, change in changes.items()})
