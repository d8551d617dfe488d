"""The inbox: every complete job file is run once and answered; nothing else is touched."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.inbox_bench import JOB, Bench, Store

from cryobridge.bridge.watch import inbox as inbox_module
from cryobridge.bridge.watch.inbox import Inbox
from cryobridge.schemas.errors import CryobridgeError, DaemonUnavailable, JobRejected


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_job_file_is_run_and_answered_beside_it(bench: Bench, tmp_path: Path) -> None:
    bench.drop()
    bench.rescan(3)
    assert len(bench.store.specs) == 1
    assert bench.store.specs[0]["inputs"]["half1"].startswith(str(tmp_path))
    assert bench.names() == set()
    bench.store.reports["1"] = {"state": "running"}
    bench.rescan(3)
    assert bench.names() == set()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "result.json").write_text('{"metrics": {"resolution_A": 3.5}}')
    bench.store.reports["1"] = {"state": "succeeded"}
    bench.rescan(2)
    answer = json.loads(bench.answer(".result.json"))
    assert answer["result"] == {"metrics": {"resolution_A": 3.5}}
    assert (answer["state"], answer["job_id"]) == ("succeeded", "1")
    assert Path(answer["output"]).resolve() == tmp_path / "out"
    assert os.listdir(bench.folder / "claimed") == []
    assert len(bench.store.specs) == 1


def test_an_answer_is_never_taken_for_a_job(bench: Bench) -> None:
    bench.drop("{}", "scan.result.json")
    bench.rescan(4)
    assert bench.names() == {"scan.result.json"}


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        ({"state": "failed", "reason": "oom", "text": "not enough memory"}, "job 1 failed (oom: not enough memory)"),
        ({"state": "cancelled"}, "job 1 cancelled"),
        (None, "the daemon has forgotten job 1; drop the file again"),
    ],
)
def test_a_job_that_did_not_succeed_is_answered_with_the_reason(
    bench: Bench, report: dict[str, Any] | None, sentence: str
) -> None:
    bench.drop()
    bench.rescan(2)
    if report is None:
        del bench.store.reports["1"]
    else:
        bench.store.reports["1"] = report
    bench.rescan(2)
    assert sentence in bench.answer()
    assert bench.answer().count("\n") == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (JOB.replace("half2", "halb2"), "scan.yaml: line 3: unknown key 'inputs.halb2'; did you mean 'inputs.half2'?"),
        (JOB.replace("map.fsc3d", "relion.reconstruct"), "made by RELION's own calls"),
        (JOB.replace("../a.mrc", "absent.mrc"), "absent.mrc (half1) does not exist"),
        ("x" * 300_000, "larger than 262144 bytes"),
        ("\x00\x01", "not YAML"),
        ("[" * 30_000, "nested too deeply"),
    ],
    ids=["key", "kind", "file", "size", "bytes", "depth"],
)
def test_a_bad_job_is_answered_with_one_sentence_and_not_run(bench: Bench, text: str, sentence: str) -> None:
    bench.drop(text)
    bench.rescan(3)
    assert sentence in bench.answer()
    assert "~" not in bench.answer()
    assert bench.answer().count("\n") == 1
    assert bench.store.specs == []
    assert os.listdir(bench.folder / "claimed") == []


@pytest.mark.parametrize("refusal", [JobRejected("the queue is full"), DaemonUnavailable("the daemon is stopping")])
def test_a_daemon_that_takes_nothing_now_is_asked_again(bench: Bench, refusal: CryobridgeError) -> None:
    bench.store.refuse = refusal
    bench.drop()
    bench.rescan(3)
    assert bench.names() == set()
    assert len(os.listdir(bench.folder / "claimed")) == 1
    bench.store.refuse = None
    bench.rescan()
    assert len(bench.store.specs) == 1


def test_a_file_that_still_grows_is_not_taken(bench: Bench) -> None:
    for end in range(10, len(JOB), 30):
        bench.drop(JOB[:end])
        bench.rescan()
    assert bench.names() == {"scan.yaml"}
    bench.drop(JOB)
    bench.rescan(3)
    assert len(bench.store.specs) == 1


def test_two_looks_in_the_same_moment_are_not_enough(bench: Bench) -> None:
    bench.drop()
    for _ in range(5):
        bench.inbox.rescan()
    assert bench.names() == {"scan.yaml"}


@pytest.mark.parametrize("name", [".scan.yaml", "scan.yaml.part", "scan.yaml~", "notes.txt", "scan"])
def test_other_files_are_left_alone(bench: Bench, name: str) -> None:
    bench.drop(name=name)
    bench.rescan(4)
    assert bench.names() == {name}


def test_links_and_pipes_are_refused_and_not_read(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(JOB)
    (bench.folder / "link.yaml").symlink_to(tmp_path / "secret")
    os.mkfifo(bench.folder / "pipe.yaml")
    bench.drop("x", "folder.txt")
    (bench.folder / "folder.yaml").mkdir()
    bench.rescan(4)
    assert "not a plain file" in bench.answer(stem="link")
    assert "pipe.yaml" in bench.names()
    assert "folder.yaml" in bench.names()
    assert bench.store.specs == []


def test_a_name_used_again_runs_again_and_keeps_the_old_answer(bench: Bench) -> None:
    bench.drop("a: 1")
    bench.rescan(3)
    first = bench.answer()
    bench.drop()
    bench.rescan(3)
    assert bench.names() == set()
    assert len(bench.store.specs) == 1
    kept = [name for name in os.listdir(bench.folder / "done") if name.endswith(".error.txt")]
    assert [(bench.folder / "done" / name).read_text() for name in kept] == [first]


def test_two_files_of_one_name_wait_for_each_other(bench: Bench) -> None:
    """Their answers have the same name."""
    bench.drop()
    bench.drop(name="scan.yml")
    bench.rescan(4)
    assert bench.names() == {"scan.yml"}
    assert len(bench.store.specs) == 1
    bench.store.reports["1"] = {"state": "failed"}
    bench.rescan(3)
    assert bench.names() == set()
    assert len(bench.store.specs) == 2
    assert any(name.endswith(".error.txt") for name in os.listdir(bench.folder / "done"))


def test_more_files_than_the_limit_wait_outside(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "MAX_PENDING", 3)
    for number in range(5):
        bench.drop(name=f"{number}.yaml")
    bench.rescan(4)
    assert len(bench.store.specs) == 3
    assert len(bench.names()) == 2
    for job_id in list(bench.store.reports):
        bench.store.reports[job_id] = {"state": "failed"}
    bench.rescan(3)
    assert len(bench.store.specs) == 5


def test_a_file_of_another_user_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    uid = os.getuid()
    monkeypatch.setattr(inbox_module.os, "getuid", lambda: uid + 1)
    bench.drop()
    bench.rescan(3)
    assert "belongs to another user than the daemon" in bench.answer()
    assert bench.store.specs == []


def test_a_file_that_is_withdrawn_in_time_is_not_run(bench: Bench) -> None:
    bench.drop()
    bench.rescan()
    (bench.folder / "scan.yaml").unlink()
    bench.rescan(3)
    assert bench.store.specs == []


def test_a_name_too_long_to_be_claimed_is_left(bench: Bench) -> None:
    name = f"{'x' * 220}.yaml"
    bench.drop(name=name)
    bench.rescan(3)
    assert bench.names() == {name}


def test_a_result_that_cannot_be_read_is_still_an_answer(bench: Bench) -> None:
    bench.drop()
    bench.rescan(2)
    bench.store.reports["1"] = {"state": "succeeded"}
    bench.rescan()
    assert json.loads(bench.answer(".result.json")) == {
        "job_id": "1",
        "state": "succeeded",
        "output": f"{bench.folder}/../out",
        "result": None,
    }


def test_one_claim_that_cannot_be_answered_does_not_hold_up_the_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.drop("bad", "a.yaml")
    bench.drop(name="b.yaml")
    answer = Inbox._answer

    def full_disk(self: Inbox, claim: str, stem: str, ending: str, text: str) -> None:
        if stem == "a":
            raise OSError(28, "No space left on device")
        answer(self, claim, stem, ending, text)

    monkeypatch.setattr(Inbox, "_answer", full_disk)
    bench.rescan(3)
    assert len(bench.store.specs) == 1
    monkeypatch.setattr(Inbox, "_answer", answer)
    bench.rescan()
    assert "a job is a list" in bench.answer(stem="a")


def test_one_file_that_breaks_something_does_not_stop_the_others(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.drop(name="a.yaml")
    bench.drop(name="b.yaml")
    load = inbox_module.load_job

    def breaking(path: Path, *, base: Path) -> object:
        if path.name.startswith("a~"):
            raise ZeroDivisionError("a mistake of ours")
        return load(path, base=base)

    monkeypatch.setattr(inbox_module, "load_job", breaking)
    bench.rescan(3)
    assert bench.answer(stem="a") == "a: cannot be used (ZeroDivisionError: a mistake of ours)\n"
    assert len(bench.store.specs) == 1
    assert len(os.listdir(bench.folder / "claimed")) == 1


@pytest.mark.parametrize("number", ["0x" + "f" * 20_000, ":".join(["1"] * 50_000), "9" * 20_000])
def test_a_number_without_end_is_one_short_sentence_at_once(bench: Bench, number: str) -> None:
    bench.drop(f"schema: {number}\nkind: map.fsc3d\n")
    started = time.monotonic()
    bench.rescan(3)
    assert time.monotonic() - started < 2
    assert len(bench.answer()) < 300
    assert bench.answer().count("\n") == 1


def test_a_result_as_large_as_results_may_be_is_answered(bench: Bench, tmp_path: Path) -> None:
    bench.drop()
    bench.rescan(2)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "result.json").write_text(json.dumps({"metrics": {"x": "y" * (8 << 20)}}))
    bench.store.reports["1"] = {"state": "succeeded"}
    bench.rescan()
    assert json.loads(bench.answer(".result.json"))["result"]["metrics"]["x"].endswith("y")


class Killed(BaseException):
    """The daemon's death."""


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deaths=st.lists(st.integers(0, 12), max_size=4))
def test_a_job_runs_once_however_often_the_daemon_dies(
    deaths: list[int], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dies before or after any change to disk or store, starts again, and in the end has run and answered it once."""
    bench = Bench(tmp_path_factory.mktemp("inbox"))
    bench.drop()
    for death in deaths:
        with monkeypatch.context() as patch:
            _die_at(death, patch, bench.store)
            try:
                bench.rescan(4)
                for job_id in bench.store.reports:
                    bench.store.reports[job_id] = {"state": "failed", "reason": "oom"}
                bench.rescan(2)
            except Killed:
                pass
        bench.restart()
    bench.rescan(4)
    for job_id in bench.store.reports:
        bench.store.reports[job_id] = {"state": "failed", "reason": "oom"}
    bench.rescan(2)
    assert len(bench.store.specs) == 1
    assert "job 1 failed (oom)" in bench.answer()
    assert os.listdir(bench.folder / "claimed") == []
    assert bench.names() == {"scan.error.txt"}


def _die_at(count: int, patch: pytest.MonkeyPatch, store: Store) -> None:
    """Raise `Killed` at the `count`-th moment before or after a rename or a submission."""
    left = [count]

    def moment() -> None:
        if left[0] == 0:
            raise Killed
        left[0] -= 1

    rename, submit = Path.rename, store.submit

    def dying_rename(self: Path, target: Path) -> Path:
        moment()
        result = rename(self, target)
        moment()
        return result

    def dying_submit(spec: Mapping[str, Any]) -> str:
        moment()
        job_id = submit(spec)
        moment()
        return job_id

    patch.setattr(Path, "rename", dying_rename)
    patch.setattr(store, "submit", dying_submit)
