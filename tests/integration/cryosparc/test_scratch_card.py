"""The doctor's card on a server that refuses, hangs up, forgets and lies: one sentence, and nothing left running."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.cryosparc import QUICK

from cryobridge.bridge.doctor.cryosparc_project import check_card
from cryobridge.bridge.doctor.finding import Finding, Level
from cryobridge.wrappers.cryosparc.documents import CardId
from cryobridge.wrappers.cryosparc.patience import CardPatience
from cryobridge.wrappers.cryosparc.v5.adapter import V5Server

from .conftest import Bench

AT_ONCE = replace(QUICK, trouble_s=0.0)
"""The doctor does not wait for a server in trouble."""
pytestmark = pytest.mark.shared

CARD = CardId("P1", "J2")
OPERATIONS = [
    "jobs.create",
    "jobs.add_external_input",
    "jobs.add_external_output",
    "jobs.find_one",
    "projects.upload_file",
    "projects.download_file",
    "projects.get_directory",
    "jobs.mark_running",
    "jobs.add_event_log",
    "jobs.get_status",
    "jobs.mark_completed",
]


def tried(bench: Bench, patience: CardPatience = AT_ONCE) -> list[Finding]:
    return list(check_card(bench.server, "P1", "W1", patience, sleep=lambda s: time.sleep(min(s, 0.02))))


def failed(findings: list[Finding]) -> Finding:
    (found,) = [one for one in findings if one.level is Level.FAIL]
    return found


def replace_operation(monkeypatch: pytest.MonkeyPatch, name: str, how: Callable[..., Any]) -> None:
    """Have the stand-in do something else; `how` is given what it did before, and its arguments."""
    (route,) = [one for one in sys.modules["standin"].ROUTES if one["name"] == name]
    before = route["fn"]
    monkeypatch.setitem(route, "fn", lambda *words, **named: how(before, *words, **named))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_refusal_is_one_sentence_and_the_card_is_marked_failed(bench: Bench, operation: str) -> None:
    bench.standin.fault(operation, status=500)
    found = failed(tried(bench))
    assert "HTTP 500" in found.text
    assert "\n" not in found.text
    assert len(found.text) < 500
    if operation == "jobs.create":
        assert "nothing should be left" in found.advice
        assert ("P1", "J2") not in bench.standin.state.jobs
    else:
        assert bench.standin.job(CARD).status == "failed"
        assert found.advice == "P1-J2 is failed and may be deleted"


@pytest.mark.parametrize("drop", ["before", "after"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_broken_connection_is_got_over_with_one_card(bench: Bench, operation: str, drop: str) -> None:
    bench.standin.fault(operation, drop=drop)
    assert {one.level for one in tried(bench)} == {Level.OK}
    assert [job for job in bench.standin.state.jobs if job[0] == "P1"] == [("P1", "J1"), ("P1", "J2")]
    assert bench.standin.job(CARD).status == "completed"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_server_that_never_answers_costs_a_bounded_wait(bench: Bench, operation: str) -> None:
    bench.standin.fault(operation, drop="before", times=100_000)
    begun = time.monotonic()
    found = failed(tried(bench, CardPatience(server_s=0.3, login_s=0.0, pause_s=0.01, longest_pause_s=0.05)))
    assert time.monotonic() - begun < 10
    if operation == "jobs.get_status":
        # Nobody can see to it then, and that is said.
        assert "may still say running" in found.advice
    elif operation != "jobs.create":
        assert bench.standin.job(CARD).status == "failed"


def test_a_card_that_cannot_be_marked_failed_either_is_named(bench: Bench) -> None:
    bench.standin.fault("jobs.mark_completed", status=500)
    bench.standin.fault("jobs.mark_failed", status=500, times=100)
    found = failed(tried(bench))
    assert found.advice == "P1-J2 could not be marked failed either and may still say running: kill it in CryoSPARC"


def test_marking_it_failed_is_tried_again(bench: Bench) -> None:
    bench.standin.fault("jobs.mark_completed", status=500)
    bench.standin.fault("jobs.mark_failed", status=500, times=2)
    failed(tried(bench))
    assert bench.standin.job(CARD).status == "failed"


def test_a_server_that_replaces_files_unasked_fails(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_operation(
        monkeypatch,
        "projects.upload_file",
        lambda before, s, q, *rest, **named: before(s, {**q, "overwrite": "true"}, *rest, **named),
    )
    assert "two agents could take the same card" in failed(tried(bench)).text


def test_a_file_that_is_changed_in_spite_of_the_refusal_fails(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(before: Callable[..., Any], s: Any, q: Any, body: bytes, **named: Any) -> Any:
        if q.get("overwrite") != "true":
            (bench.standin.project() / q["path"]).write_bytes(body)
        return before(s, q, body, **named)

    replace_operation(monkeypatch, "projects.upload_file", changed)
    assert "changed it all the same" in failed(tried(bench)).text


def test_a_file_that_arrives_empty_fails(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_operation(
        monkeypatch, "projects.upload_file", lambda before, *words, **named: before(*words, **{**named, "body": b""})
    )
    assert "does not arrive whole" in failed(tried(bench)).text
    assert bench.standin.job(CARD).status == "failed"


def test_a_kill_is_seen_and_not_undone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(before: Callable[..., Any], s: Any, *words: Any, **named: Any) -> Any:
        s.jobs["P1", "J2"].status = "killed"
        return before(s, *words, **named)

    replace_operation(monkeypatch, "jobs.add_event_log", killed)
    found = failed(tried(bench))
    assert "is killed" in found.text
    assert bench.standin.job(CARD).status == "killed"


def test_ctrl_c_leaves_nothing_running(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_words: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(V5Server, "log", stopped)
    with pytest.raises(KeyboardInterrupt):
        tried(bench)
    assert bench.standin.job(CARD).status == "failed"


def test_a_reader_that_goes_away_leaves_nothing_running(bench: Bench) -> None:
    findings = check_card(bench.server, "P1", "W1", AT_ONCE)
    for found in findings:
        if "was started" in found.text:
            break
    findings.close()  # type: ignore[attr-defined]
    assert bench.standin.job(CARD).status == "failed"


def test_no_agent_takes_it_for_one_of_its_cards(bench: Bench) -> None:
    from cryobridge.wrappers.cryosparc.agent.go_signs import is_ours

    tried(bench)
    assert not is_ours(bench.server.card(CARD))
