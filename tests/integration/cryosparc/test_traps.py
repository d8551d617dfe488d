"""The traps of the client that cryobridge works around, each against the stand-in with the client as it is on PyPI.

1 Ctrl-C marks a job completed · 2 so does the end of a job that was killed · 3 a completed job becomes failed ·
4 errors travel in the URL · 5 writes are sent twice, from streams that are at their end · 7 variables are read at
import · 9 headers of maps · 10 progress in many lines · 11 tables as parameters · 12 pickled tables.
6 (downloads in memory) is in the tests of downloads, 8 (tokens that others can read) in those of logging in.
"""

from __future__ import annotations

import pickle
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.cryosparc import DirectDaemon

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.cryosparc.card import card_run, foreground, telling
from cryobridge.wrappers.cryosparc.card.card_run import End
from cryobridge.wrappers.cryosparc.card.foreground import run_card
from cryobridge.wrappers.cryosparc.card.memory import Memory
from cryobridge.wrappers.cryosparc.card.new_card import new_card
from cryobridge.wrappers.cryosparc.daemon import JobEnd, OnProgress
from cryobridge.wrappers.cryosparc.documents import CardId, Source
from cryobridge.wrappers.cryosparc.folder.job_folder import Folders, inputs_of_folders
from cryobridge.wrappers.cryosparc.options_block import CardOptions
from cryobridge.wrappers.cryosparc.recipes import recipes
from cryobridge.wrappers.formats import mrc

from .conftest import Bench

pytestmark = pytest.mark.shared


def at(wait: int, deed: Callable[[], None]) -> Callable[[int], None]:
    """Do something at the nth wait for the daemon's job."""
    return lambda number: deed() if number == wait else None


def operations(bench: Bench) -> list[str]:
    return [call["op"] for call in bench.standin.state.calls]


def errors_of(bench: Bench, card: CardId) -> list[str]:
    return [event.text for event in bench.standin.log_of(card) if event.type == "error"]


# ---- 1: Ctrl-C (real signals to the real command: test_terminal.py)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143), MemoryError("no memory"), RuntimeError("bug")])
def test_1_whatever_ends_the_process_the_card_is_failed_and_the_daemons_job_stopped(
    bench: Bench, error: BaseException
) -> None:
    def ends() -> None:
        raise error

    card = bench.card()
    bench.daemon.slices = 5
    bench.daemon.between = at(3, ends)
    with pytest.raises(type(error)):
        bench.run(card)
    assert bench.standin.job(card).status == "failed"
    assert bench.daemon.cancelled
    assert "jobs.mark_completed" not in operations(bench)
    assert bench.remembered() == []
    assert errors_of(bench, card)


def test_1_ctrl_c_does_not_wait_for_a_server_that_is_away(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The card is then left, with all that is known of it, to the next agent."""
    monkeypatch.setattr(card_run, "_LAST_S", 0.2)
    card = bench.card()

    def ends() -> None:
        for operation in ("jobs.get_status", "jobs.mark_failed", "jobs.add_event_log"):
            bench.standin.fault(operation, drop="before", times=10**6)
        raise KeyboardInterrupt

    bench.daemon.slices = 5
    bench.daemon.between = at(2, ends)
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        bench.run(card)
    assert time.monotonic() - begun < 10
    assert bench.remembered() == [card]


# ---- 2: killed


def test_2_a_job_that_was_killed_is_not_completed_and_the_daemon_stops(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreground, "LOOK_EVERY_S", 0.02)
    card = bench.card()

    def kill(number: int) -> None:
        time.sleep(0.02)
        if number == 3:
            bench.server._api.jobs.kill(card.project, card.job)

    bench.daemon.slices = 500
    bench.daemon.between = kill
    assert run_card(bench.server, bench.daemon, Memory(bench.folder), card) is End.NOT_WANTED
    assert bench.standin.job(card).status == "killed"
    assert bench.daemon.cancelled
    assert not {"jobs.mark_completed", "jobs.mark_failed"} & set(operations(bench))
    assert "given up: it is killed" in bench.standin.said(card)


@pytest.mark.parametrize("moment", ["jobs.add_image_log", "jobs.set_tile_image", "jobs.save_output"])
def test_2_a_kill_in_the_last_second_stays_a_kill(bench: Bench, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """Nobody has looked at the status since: it is asked for just before the end."""
    card = bench.card()
    name = {"jobs.add_image_log": "plot", "jobs.set_tile_image": "set_tile", "jobs.save_output": "save_output"}[moment]
    deed = getattr(bench.server, name)

    def killed(*given: object) -> None:
        deed(*given)
        bench.standin.job(card).status = "killed"

    monkeypatch.setattr(bench.server, name, killed)
    assert bench.run(card) is End.NOT_WANTED
    assert bench.standin.job(card).status == "killed"
    assert bench.remembered() == []


def test_2_a_card_that_is_cleared_while_it_waits_is_left_alone(bench: Bench) -> None:
    card = bench.card()
    since = time.monotonic() + 1000
    bench.daemon.slices = 5
    bench.daemon.between = at(2, lambda: bench.server._api.jobs.clear(card.project, card.job))
    end = bench.run(card, status_of=lambda _: (bench.standin.job(card).status, since))
    assert end is End.NOT_WANTED
    assert bench.standin.job(card).status == "building"


# ---- 3: completed


@pytest.mark.parametrize("status", ["completed", "killed", "failed", "running", "queued"])
def test_3_a_card_that_cannot_start_is_left_as_it_is(bench: Bench, status: str) -> None:
    card = bench.card()
    bench.standin.job(card).status = status
    before = len(operations(bench))
    assert bench.run(card) is End.NOT_WANTED
    assert bench.standin.job(card).status == status
    assert not [one for one in operations(bench)[before:] if "mark" in one or "upload" in one]


def test_3_a_job_that_somebody_completed_meanwhile_does_not_become_failed(bench: Bench) -> None:
    card = bench.card()
    bench.daemon.slices = 3
    bench.daemon.between = at(2, lambda: setattr(bench.standin.job(card), "status", "completed"))
    bench.run(card)
    assert bench.standin.job(card).status == "completed"
    assert "jobs.mark_failed" not in operations(bench)


def test_3_a_card_without_inputs_fails_in_one_sentence(bench: Bench) -> None:
    card = new_card(bench.server, "P1", "W1", CardOptions("map.fsc3d"), {}, "cryobridge", card_run.CardPatience())
    assert bench.run(card) is End.FAILED
    assert bench.daemon.jobs == {}
    assert "volume" in errors_of(bench, card)[0]


# ---- 4: long errors


class FailingDaemon(DirectDaemon):
    """Ends each job with a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def end_of(self, job_id: str, timeout_s: float, on_progress: OnProgress) -> JobEnd:
        return JobEnd("failed", "failed", self.text)


TRACEBACK = "Traceback (most recent call last):\n" + '  File "x.py", line 1, in f\n' * 4000 + "ValueError: the reason"


@pytest.mark.parametrize("text", [TRACEBACK, "x" * 100_000, "é漢" * 50_000, "/data/\udcff.mrc\0 is gone", ""])
def test_4_an_error_of_any_length_fails_the_card_in_one_short_line(make_bench: Callable[..., Bench], text: str) -> None:
    bench = make_bench()
    card = bench.card()
    bench.daemon = FailingDaemon(text)  # type: ignore[assignment]
    assert bench.run(card) is End.FAILED
    assert bench.standin.job(card).status == "failed"
    assert max(call["query_bytes"] for call in bench.standin.state.calls) < 8000
    whole, line = errors_of(bench, card)
    assert len(line) <= 400
    assert "\n" not in line
    assert len(whole) <= 10_000
    if text is TRACEBACK:
        assert whole.startswith("Traceback")
        assert whole.endswith("ValueError: the reason")


def test_4_an_exception_with_a_text_of_any_length_too(bench: Bench) -> None:
    def bug() -> None:
        raise RuntimeError(TRACEBACK)

    card = bench.card()
    bench.daemon.between = at(1, bug)
    with pytest.raises(RuntimeError):
        bench.run(card)
    assert bench.standin.job(card).status == "failed"
    assert all(len(one) <= 10_000 for one in errors_of(bench, card))


# ---- 5: lost answers; test_card_run.py loses each answer of a run, and 0-byte files are in the tests of publishing


@pytest.mark.parametrize("drop", ["before", "after"])
@pytest.mark.parametrize(
    "operation",
    ["jobs.create", "jobs.set_description", "jobs.add_external_input", "jobs.connect", "jobs.find", "jobs.find_one"],
)
def test_5_a_new_card_is_one_card_however_the_answers_are_lost(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, operation: str, drop: str
) -> None:
    monkeypatch.setattr("cryobridge.wrappers.cryosparc.card.new_card._SETTLE_S", 0.0)
    bench.standin.fault(operation, drop=drop, times=2)
    if operation == "jobs.find":
        bench.standin.fault("jobs.create", drop="after")
    card = bench.card()
    cards = [job for job in bench.standin.state.jobs.values() if job.spec.type == "snowflake"]
    assert [job.uid for job in cards] == [card.job]
    assert len(cards[0].spec.inputs.root["volume"].connections) == 1
    assert not cards[0].build_errors


@pytest.mark.parametrize("drop", ["before", "after"])
def test_5_an_upload_whose_connection_breaks_is_no_empty_file(bench: Bench, drop: str) -> None:
    """The client alone sends it once more from a stream that is at its end: 0 bytes, and no error."""
    card = bench.card()
    content = bytes(range(256)) * 1000
    bench.standin.fault("projects.upload_file", drop=drop)
    with pytest.raises(card_run.Unreachable):
        bench.server.upload(card, "map.mrc", content, overwrite=True)
    there = bench.server.read(card.project, f"{card.job}/map.mrc", 10**6)
    assert there == (content if drop == "after" else None)
    bench.server.upload(card, "map.mrc", content, overwrite=True)
    assert bench.server.read(card.project, f"{card.job}/map.mrc", 10**6) == content


def test_5_a_table_that_arrives_empty_is_noticed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    card, save, cut = bench.card(), bench.server.save_output, [True]

    def once_empty(one: CardId, name: str, columns: dict[str, np.ndarray]) -> None:
        save(one, name, {key: values[:0] for key, values in columns.items()} if cut.pop() else columns)
        cut.append(False)

    monkeypatch.setattr(bench.server, "save_output", once_empty)
    assert bench.run(card) is End.COMPLETED
    assert len(bench.server.load_output(card, "fsc3d")["uid"]) == 1


# ---- 9: headers


def header_of(path: Path) -> dict[str, object]:
    raw = path.read_bytes()[:1024]
    return {
        "mode": struct.unpack_from("<i", raw, 12)[0],
        "ispg": struct.unpack_from("<i", raw, 88)[0],
        "nversion": struct.unpack_from("<i", raw, 108)[0],
        "origin": struct.unpack_from("<3f", raw, 196),
        "rms": struct.unpack_from("<f", raw, 216)[0],
    }


def test_9_maps_that_come_out_are_volumes_by_the_standard_and_keep_their_origin(bench: Bench) -> None:
    """The client writes ISPG 0, NVERSION 0 and no deviation."""
    names = bench.server.load_output(CardId("P1", "J1"), "volume")
    path = bench.standin.project() / str(names["map/path"][0])
    with path.open("r+b") as file:
        file.seek(196)
        file.write(struct.pack("<3f", 12.0, -24.0, 36.0))
    card = bench.card("map.lowpass", resolution_A="12")
    assert bench.run(card) is End.COMPLETED
    saved = bench.server.load_output(card, "volume")
    out = bench.standin.project() / str(saved["map/path"][0])
    header = header_of(out)
    assert (header["mode"], header["ispg"], header["nversion"]) == (2, 1, 20140)
    assert header["origin"] == (12.0, -24.0, 36.0)
    assert header["rms"] == pytest.approx(float(mrc.read(out)[0].std()), rel=1e-3)


# ---- 10: the log


def test_10_progress_is_one_line_that_changes_and_pictures_come_after_a_checkpoint(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "PROGRESS_EVERY_S", 0.0)
    card = bench.card()
    bench.daemon.slices = 20
    assert bench.run(card) is End.COMPLETED
    events = bench.standin.log_of(card)
    lines = [event.text for event in events if event.type == "text" and "at work" in event.text]
    assert lines == ["at work (100%)"]
    assert operations(bench).count("jobs.update_event_log") >= 19
    kinds = [event.type for event in events]
    assert 0 < kinds.index("checkpoint") < kinds.index("image")


# ---- 11: tables in queries


def test_11_tables_travel_in_bodies_only(bench: Bench) -> None:
    card = bench.card()
    bench.server.checkpoint(card, {"stage": "results", "more": {"deep": [1, 2]}})
    assert bench.standin.log_of(card)[-1].meta == {"stage": "results", "more": {"deep": [1, 2]}}


# ---- 12: pickles


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return Path.touch, (self.sprung,)  # type: ignore[return-value]


def test_12_a_map_that_is_a_pickle_fails_the_card_and_is_not_unpickled(bench: Bench, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    names = bench.server.load_output(CardId("P1", "J1"), "volume")
    (bench.standin.project() / str(names["map_half_A/path"][0])).write_bytes(pickle.dumps(Trap(sprung)))
    card = bench.card()
    assert bench.run(card) is End.FAILED
    assert any("map_half_A" in line for line in errors_of(bench, card))
    assert not sprung.exists()


@pytest.mark.parametrize("form", ["npy of objects", "pickle"])
def test_12_a_pickled_table_in_a_jobs_folder_is_refused_and_not_unpickled(tmp_path: Path, form: str) -> None:
    folder, sprung = tmp_path / "CS-1" / "J7", tmp_path / "sprung"
    folder.mkdir(parents=True)
    if form == "pickle":
        (folder / "J7_map.cs").write_bytes(pickle.dumps(Trap(sprung)))
    else:
        with (folder / "J7_map.cs").open("wb") as file:
            np.save(file, np.array([(1, Trap(sprung))], dtype=[("uid", "u8"), ("map_half_A/path", "O")]))
    with pytest.raises(InputInvalid, match=r"J7_map\.cs") as caught:
        inputs_of_folders(recipes()["map.fsc3d"], Folders(folder), "auto", tmp_path)
    assert "\n" not in str(caught.value)
    assert not sprung.exists()


# ---- what the list does not number


def test_a_wrong_connection_is_refused_before_a_card_is_made(bench: Bench) -> None:
    with pytest.raises(InputInvalid, match="is of the type mask, not volume"):
        new_card(
            bench.server,
            "P1",
            "W1",
            CardOptions("map.fsc3d"),
            {"volume": Source("J1", "mask")},
            "cryobridge",
            card_run.CardPatience(),
        )
    assert [job.uid for job in bench.standin.state.jobs.values()] == ["J1"]
