"""Answers that are not CryoSPARC's: pages of proxies, empty ones, other documents, refusals at every step of a card.

Each card ends completed and whole, or failed in one plain sentence, or is left for the next agent; never otherwise.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.cryosparc import surroundings

from cryobridge.schemas.errors import CryobridgeError
from cryobridge.wrappers.cryosparc.card import claim
from cryobridge.wrappers.cryosparc.card.card_run import CardRun, End
from cryobridge.wrappers.cryosparc.daemon import JobEnd
from cryobridge.wrappers.cryosparc.documents import ACTIVE, CardId
from cryobridge.wrappers.cryosparc.patience import CardPatience
from cryobridge.wrappers.cryosparc.server import Unreachable

from .conftest import Bench
from .test_card_run import OPERATIONS

pytestmark = [pytest.mark.shared, pytest.mark.slow]
PAGE = b"<html><head><title>Sign in</title></head><body><form></form></body></html>"
ANSWERS = {
    "a page": (PAGE, "text/html; charset=utf-8"),
    "a page said to be JSON": (PAGE, "application/json"),
    "nothing": (b"", "application/json"),
    "null": (b"null", "application/json"),
    "a list": (b"[]", "application/json"),
    "another document": (b'{"a": [1]}', "application/json"),
    "a damaged table": (b"\x95CSDAT\xff\xff\xff\xff" + bytes(40), "application/x-cryosparc-dataset"),
}
STEPS = [
    "jobs.find_one",
    "jobs.mark_running",
    "projects.upload_file",
    "jobs.load_input",
    "jobs.save_output",
    "jobs.load_output",
    "assets.upload",
    "jobs.get_status",
    "jobs.mark_completed",
]
"""Of each sort one."""
SHORT = CardPatience(server_s=0.3, login_s=0.3, trouble_s=0.1, daemon_s=1.0, pause_s=0.01, longest_pause_s=0.05)
LONG = replace(SHORT, server_s=10.0, trouble_s=10.0)
EVER = 10**6


class OtherAnswers:
    """Something that stands before a server and answers in its place."""

    def __init__(self, bench: Bench) -> None:
        self._instead: dict[str, tuple[bytes, str, int]] = {}
        handler = bench.standin._server.RequestHandlerClass
        own = handler.answer

        def answer(request: object, state: object, route: dict[str, object], *rest: object) -> None:
            body, media, times = self._instead.get(str(route["name"]), (b"", "", 0))
            if times == 0:
                own(request, state, route, *rest)
                return
            self._instead[str(route["name"])] = body, media, times - 1
            request.send(200, body, media)  # type: ignore[attr-defined]

        handler.answer = answer

    def of(self, operation: str, answer: tuple[bytes, str], times: int) -> None:
        self._instead[operation] = (*answer, times)

    def none(self) -> None:
        self._instead.clear()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "_READING_PAUSE_S", 0.0)


@pytest.fixture
def instead(bench: Bench) -> OtherAnswers:
    return OtherAnswers(bench)


def ended(bench: Bench, card: CardId, patience: CardPatience = SHORT) -> str:
    """Run a card, and judge what became of it; its status."""
    around = surroundings(bench.server, bench.daemon, bench.folder)
    around.patience = patience
    with around.memory.held(card) as held:
        assert held is not None
        said = ""
        try:
            end = CardRun(around, held).run()
        except CryobridgeError as error:
            said, end = str(error), End.LEFT
    assert "\n" not in said
    job = bench.standin.job(card)
    errors = [event.text for event in bench.standin.log_of(card) if event.type == "error"]
    assert not any("\n" in text or "Traceback" in text for text in errors)
    assert (job.status == "completed") == (end is End.COMPLETED)
    if end is End.COMPLETED:
        assert all(result.metafiles for output in job.spec.outputs.root.values() for result in output.results)
        assert "fsc3d" in job.spec.outputs.root
    if job.status in ACTIVE:
        assert bench.remembered() == [card]
    return str(job.status)


@pytest.mark.parametrize("times", [1, EVER])
@pytest.mark.parametrize("operation", STEPS)
def test_no_other_answer_leaves_a_card_running_for_ever_or_shows_a_traceback(
    bench: Bench, instead: OtherAnswers, operation: str, times: int
) -> None:
    for answer in list(ANSWERS.values())[:: 1 if times == 1 else 4]:
        instead.none()
        card = bench.card()
        instead.of(operation, answer, times)
        status = ended(bench, card)
        instead.none()
        if status in ACTIVE:
            assert ended(bench, card) not in ACTIVE
        bench.daemon.jobs.clear()


def test_a_page_of_a_proxy_is_waited_for_as_a_server_that_is_away(bench: Bench, instead: OtherAnswers) -> None:
    card = bench.card()
    for operation in OPERATIONS:
        instead.of(operation, ANSWERS["a page"], 2)
    assert ended(bench, card, LONG) == "completed"


@pytest.mark.parametrize("status", [403, 404, 500])
@pytest.mark.parametrize("operation", ["jobs.mark_failed", "jobs.get_status"])
def test_a_card_whose_end_is_refused_is_left_to_the_next_agent(bench: Bench, operation: str, status: int) -> None:
    """Nothing else would ever end it."""
    card = bench.card()

    def breaks(_: int) -> None:
        bench.standin.fault(operation, status=status, times=EVER)
        bench.daemon.jobs["broken"] = {}
        raise BrokenJobError("no memory is left")

    bench.daemon.between = breaks
    first = ended(bench, card)
    bench.standin.state.faults.clear()
    bench.daemon.between = lambda _: None
    bench.daemon.end_of = lambda *_: JobEnd("failed", "failed", "no memory is left")  # type: ignore[method-assign]
    assert first == "failed" or ended(bench, card) == "failed"
    assert bench.remembered() == []


class BrokenJobError(CryobridgeError):
    """What fails a job of this test."""


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("operation", ["jobs.get_status", "jobs.find_one"])
def test_one_404_is_not_a_deleted_card(bench: Bench, operation: str, times: int) -> None:
    card = bench.card()
    bench.standin.fault(operation, status=404, times=times)
    assert ended(bench, card) == "completed"


@pytest.mark.parametrize("status", [403, 500])
def test_pictures_that_are_refused_do_not_cost_a_finished_job(bench: Bench, status: int) -> None:
    card = bench.card()
    for operation in ("jobs.add_checkpoint", "assets.upload", "jobs.add_image_log", "jobs.set_tile_image"):
        bench.standin.fault(operation, status=status, times=EVER)
    assert ended(bench, card) == "completed"
    assert "left out: " in bench.standin.said(card)


def test_a_server_in_trouble_for_a_moment_costs_nothing(bench: Bench) -> None:
    """E.g. its database takes another leader."""
    card = bench.card()
    for operation in OPERATIONS:
        bench.standin.fault(operation, status=500)
    assert ended(bench, card, LONG) == "completed"


def test_an_answer_that_never_comes_is_not_waited_for_for_ever(bench: Bench) -> None:
    card = bench.card()
    bench.server._api._client.timeout = 0.2
    bench.standin.fault("jobs.load_input", delay=0.6, times=2)
    assert ended(bench, card) == "completed"


def test_a_login_page_says_that_there_is_one(bench: Bench, instead: OtherAnswers) -> None:
    instead.of("jobs.find_one", ANSWERS["a page"], EVER)
    with pytest.raises(Unreachable, match="does a proxy on the way want a login"):
        bench.server.card(CardId("P1", "J1"))


@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("start", "killed"),
        ("load_input", "killed"),
        ("add_output", "killed"),
        ("output_fields", "killed"),
        ("output_fields", "building"),
    ],
)
def test_a_kill_or_clear_that_shows_in_a_refusal_is_no_failure(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str, to: str
) -> None:
    """The next call is refused, and says so in words that are nobody's error."""
    card = bench.card()
    deed, calls = getattr(bench.server, name), []

    def ended(*given: Any) -> Any:
        done = deed(*given)
        if not calls:
            bench.standin.job(card).status = to
        calls.append(given)
        return done

    monkeypatch.setattr(bench.server, name, ended)
    end = bench.run(card)
    assert end is End.NOT_WANTED
    assert bench.standin.job(card).status == to
    assert [one for one in bench.standin.log_of(card) if one.type == "error"] == []
    assert f"given up: it is {to}" in bench.standin.said(card)


def test_two_outputs_on_one_input_are_one_sentence(bench: Bench) -> None:
    card = bench.card()
    connections = bench.standin.job(card).spec.inputs.root["volume"].connections
    connections.append(connections[0].model_copy(deep=True))
    assert bench.run(card) is End.FAILED
    assert "2 outputs are connected to 'volume', which takes one" in bench.standin.said(card)
