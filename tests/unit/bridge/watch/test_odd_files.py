"""Inbox files of any name are answered under it, and none holds up the others."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support.inbox_bench import JOB, Bench

from cryobridge.bridge.watch.inbox import Inbox


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


ODD_NAMES = [
    "two\nlines",
    "line\r\nend",
    "\udcff\udcfe",
    "bell\x07",
    "sep\u2028",
    "a~0123456789abcdef",
    "%s%n",
    "tab\t",
]


@pytest.mark.parametrize("stem", ODD_NAMES)
@pytest.mark.parametrize("suffix", [".yaml", ".json"])
@pytest.mark.parametrize("text", ["kind: [", JOB.replace("half2", "half3"), '{"schema": "\udcff"}'])
def test_a_file_of_any_name_is_answered_under_it(bench: Bench, stem: str, suffix: str, text: str) -> None:
    bench.drop()
    (bench.folder / f"{stem}{suffix}").write_text(text, errors="surrogateescape")
    bench.rescan(4)
    assert bench.names() == {f"{stem}.error.txt"}
    assert [entry.startswith("scan~") for entry in os.listdir(bench.folder / "claimed")] == [True]
    (sentence,) = (bench.folder / f"{stem}.error.txt").read_text("utf-8").splitlines()
    assert sentence.isprintable()
    assert len(sentence) < 700
    assert len(bench.store.specs) == 1


def test_a_job_file_of_an_odd_name_runs(bench: Bench) -> None:
    bench.drop(name="two\nlines \udcff.yaml")
    bench.rescan(4)
    bench.store.reports["1"] = {"state": "succeeded"}
    bench.rescan()
    assert json.loads(bench.answer(".result.json", "two\nlines \udcff"))["state"] == "succeeded"
    assert os.listdir(bench.folder / "claimed") == []


def test_a_claim_that_can_never_be_answered_does_not_hold_up_the_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Inbox._answer

    def broken(inbox: Inbox, claim: str, stem: str, ending: str, text: str) -> None:
        if stem == "a":
            raise ValueError("no answer for this one")
        answer(inbox, claim, stem, ending, text)

    monkeypatch.setattr(Inbox, "_answer", broken)
    bench.drop("kind: [", "a.yaml")
    bench.drop("kind: [", "b.yaml")
    bench.rescan(3)
    assert bench.names() == {"b.error.txt"}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("sort", ["link", "pipe"])
def test_what_is_planted_under_the_name_of_an_answer_is_neither_written_through_nor_waited_for(
    bench: Bench, tmp_path: Path, sort: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    bench.drop()
    bench.rescan(4)
    (claim,) = os.listdir(bench.folder / "claimed")
    for planted in (f"claimed/{claim}.part", f"claimed/.{claim}.part", "scan.result.json"):
        path = bench.folder / planted
        path.symlink_to(victim) if sort == "link" else os.mkfifo(path)
    bench.store.reports["1"] = {"state": "succeeded"}
    bench.rescan()
    assert victim.read_text() == "precious"
    assert not (bench.folder / "scan.result.json").is_symlink()
    assert json.loads(bench.answer(".result.json"))["state"] == "succeeded"
    assert bench.names() == {"scan.result.json"}


def test_answers_that_a_kill_left_unfinished_are_removed_at_the_next_start(bench: Bench) -> None:
    (bench.folder / ".scan.result.json.0123456789abcdef.part").write_text("{")
    bench.rescan()
    assert bench.names() == set()
