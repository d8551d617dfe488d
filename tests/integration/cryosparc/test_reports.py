"""What users of CryoSPARC's tools have reported of other programs (rows C1 to C12), as tests of this one.

====  ==================================================================  ===========================================
row   report                                                              test
====  ==================================================================  ===========================================
C1    a required field is missing, and the server refuses the table       test_c1_* here; unit: test_outputs.py
C2    files behind links are "not in the project directory"               test_c2_* here; unit: test_project_files.py
C3    a wrong slot gives an opaque error                                  test_c3_* here; unit: test_new_card.py
C4    external jobs cannot be queued or killed; odd names of outputs      test_c4_* here; unit: test_recipes.py
C5    unions of tables lose columns                                       test_c5_* here; unit: test_outputs.py
C6    the same call fails differently by version                          test_c6_* in test_terminal.py;
                                                                          unit: test_versions.py
C7    taken for dead for want of a heartbeat; its place given away        test_c7_* here
C8    which of pose, passthrough and class alignments is meant            unit: wrappers/particles/test_alignments.py
C9    shifts belong to the refinement's box                               unit: wrappers/particles/test_conversion.py
C10   D groups: another two-fold axis than RELION's                       unit: bridge/.../particles/test_two_fold.py
C11   users will not go through STAR and back                             test_c11_* here
C12   files not found: waits for ever                                     test_c12_* here
====  ==================================================================  ===========================================

The last tests are of tokens that expire and daemons that are away in the middle of work: it is kept.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from support.cryosparc import EMAIL, PASSWORD, DirectDaemon

from cryobridge.wrappers.cryosparc.card import foreground, telling
from cryobridge.wrappers.cryosparc.card.card_run import CardRun, CardSurroundings, End
from cryobridge.wrappers.cryosparc.card.foreground import run_card
from cryobridge.wrappers.cryosparc.card.memory import Memory
from cryobridge.wrappers.cryosparc.connecting import connected
from cryobridge.wrappers.cryosparc.daemon import JobEnd, OnProgress
from cryobridge.wrappers.cryosparc.documents import CardId
from cryobridge.wrappers.cryosparc.patience import CardPatience
from cryobridge.wrappers.cryosparc.recipes import HALVES
from cryobridge.wrappers.cryosparc.sent_text import one_line
from cryobridge.wrappers.cryosparc.server import NotLoggedIn
from cryobridge.wrappers.cryosparc.v5.adapter import V5Server
from cryobridge.wrappers.cryosparc.v5.login import log_in

from .conftest import Bench

pytestmark = pytest.mark.shared
REFINEMENT = CardId("P1", "J1")


def errors_of(bench: Bench, card: CardId) -> list[str]:
    return [event.text for event in bench.standin.log_of(card) if event.type == "error"]


def half_map(bench: Bench) -> Path:
    named = bench.server.load_output(REFINEMENT, "volume")["map_half_A/path"]
    return bench.standin.project() / str(named[0])


def failed_in_one_sentence(bench: Bench, card: CardId) -> str:
    """The sentence that a card failed with."""
    assert bench.run(card) is End.FAILED
    assert bench.standin.job(card).status == "failed"
    sentence, short = errors_of(bench, card)
    assert short == one_line(sentence)
    assert "\n" not in sentence
    assert "Traceback" not in sentence
    return sentence


# ---- C1


@pytest.fixture
def more_columns(bench: Bench) -> Iterator[Callable[[str], None]]:
    """Has the server ask for one more column of each volume."""
    fields = type(bench.standin.state).read_result.__globals__["FIELDS"]["volume"]["blob"]
    before = list(fields)
    yield lambda name: fields.append((name, "f4"))
    fields[:] = before


def test_c1_a_column_that_a_newer_server_asks_for_is_named(bench: Bench, more_columns: Callable[[str], None]) -> None:
    more_columns("dose")
    sentence = failed_in_one_sentence(bench, bench.card())
    assert "'map/dose'" in sentence
    assert "output 'fsc3d'" in sentence
    assert "jobs.save_output" not in [call["op"] for call in bench.standin.state.calls]


# ---- C2


def test_c2_a_map_behind_a_link_out_of_the_project_is_one_sentence_or_allowed(bench: Bench, tmp_path: Path) -> None:
    path, elsewhere = half_map(bench), tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(path, elsewhere / path.name)
    path.symlink_to(elsewhere / path.name)
    sentence = failed_in_one_sentence(bench, bench.card())
    assert str(path) in sentence
    assert str(elsewhere / path.name) in sentence
    assert "--also-read" in sentence
    assert bench.run(bench.card(), also_read=[elsewhere]) is End.COMPLETED


def test_c2_a_map_behind_a_link_inside_of_the_project_is_read(bench: Bench) -> None:
    path = half_map(bench)
    (bench.standin.project() / "imported").mkdir()
    shutil.move(path, bench.standin.project() / "imported" / path.name)
    path.symlink_to(Path("..") / "imported" / path.name)
    assert bench.run(bench.card()) is End.COMPLETED


# ---- C3, C4, C5


def test_c3_slots_are_told_as_names_with_types(bench: Bench) -> None:
    card = bench.card("map.fsc3d")
    assert bench.run(card) is End.COMPLETED
    spec = bench.standin.job(card).spec
    assert [(slot.name, slot.dtype) for slot in spec.inputs.root["volume"].slots][:2] == [
        ("map_half_A", "blob"),
        ("map_half_B", "blob"),
    ]
    assert [(slot.name, slot.dtype) for slot in spec.outputs.root["fsc3d"].slots] == [("map", "blob")]


def test_c3_a_slot_that_the_server_does_not_take_is_one_sentence(bench: Bench) -> None:
    card = bench.card()
    bench.standin.fault("jobs.add_external_output", status=422)
    sentence = failed_in_one_sentence(bench, card)
    assert "its output 'fsc3d' cannot be declared" in sentence
    assert "(HTTP 422)" in sentence


def test_c4_nothing_is_queued_or_killed_and_all_names_are_fit_for_a_url(bench: Bench) -> None:
    card = bench.card()
    assert bench.run(card) is End.COMPLETED
    asked = {call["op"] for call in bench.standin.state.calls}
    assert not {"jobs.enqueue", "jobs.kill", "jobs.clear"} & asked
    spec = bench.standin.job(card).spec
    assert all(re.fullmatch(r"[A-Za-z0-9_]+", name) for name in (*spec.inputs.root, *spec.outputs.root))


def test_c5_no_column_and_no_row_of_an_input_is_lost_on_its_way_through(bench: Bench) -> None:
    card = bench.card("map.lowpass", resolution_A="12")
    assert bench.run(card) is End.COMPLETED
    before, after = bench.server.load_output(REFINEMENT, "volume"), bench.server.load_output(card, "volume")
    assert set(before) == set(after)
    replaced = {"map/path", "map/shape", "map/psize_A"}
    for name in set(before) - replaced:
        assert np.array_equal(before[name], after[name]), name


# ---- C7


def test_c7_a_job_that_says_nothing_for_long_is_seen_to_live(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "LIFE_EVERY_S", 0.02)
    monkeypatch.setattr(telling, "PROGRESS_EVERY_S", 1000.0)
    card, seen = bench.card(), set()

    def look(_: int) -> None:
        time.sleep(0.01)
        seen.update(event.updated_at for event in bench.standin.log_of(card) if "at work" in str(event.text))

    bench.daemon.slices = 30
    bench.daemon.between = look
    assert bench.run(card) is End.COMPLETED
    assert len(seen) > 5
    lines = [event for event in bench.standin.log_of(card) if event.type == "text" and "at work" in event.text]
    assert len(lines) == 1


def test_c7_the_daemons_job_ends_with_cryosparcs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreground, "LOOK_EVERY_S", 0.02)
    card = bench.card()

    def stop(number: int) -> None:
        time.sleep(0.02)
        if number == 2:
            bench.standin.job(card).status = "killed"

    bench.daemon.slices = 500
    bench.daemon.between = stop
    assert run_card(bench.server, bench.daemon, Memory(bench.folder), card) is End.NOT_WANTED
    assert bench.daemon.cancelled == list(bench.daemon.jobs)


def test_c7_cryosparcs_job_ends_with_the_daemons(bench: Bench) -> None:
    card = bench.card()

    def cancel(number: int) -> None:
        if number == 2:
            bench.daemon.cancelled.extend(bench.daemon.jobs)

    bench.daemon.slices = 5
    bench.daemon.between = cancel
    assert "cancelled on request" in failed_in_one_sentence(bench, card)


# ---- C11


@pytest.mark.slow
def test_c11_half_maps_and_a_mask_come_from_the_job_and_a_volume_goes_back_with_them(bench: Bench) -> None:
    card = bench.card("map.correct", effort="quick")
    assert bench.run(card) is End.COMPLETED
    result = json.loads((bench.standin.project() / card.job / "cryobridge" / "result.json").read_text())
    assert {"half1", "half2", "mask"} <= set(result["inputs"])
    volume, before = bench.server.load_output(card, "volume"), bench.server.load_output(REFINEMENT, "volume")
    for slot in ("map_half_A", "map_half_B", "mask_refine", "mask_fsc"):
        assert volume[f"{slot}/path"].tolist() == before[f"{slot}/path"].tolist()
    assert volume["map/path"].tolist() != before["map/path"].tolist()
    assert bench.server.load_output(card, HALVES)["map_half_A/path"].tolist() != before["map_half_A/path"].tolist()


# ---- C12


def test_c12_a_map_that_is_gone_fails_the_card_at_once_with_its_path(bench: Bench) -> None:
    path = half_map(bench)
    path.unlink()
    begun = time.monotonic()
    sentence = failed_in_one_sentence(bench, bench.card())
    assert time.monotonic() - begun < 5
    assert str(path) in sentence
    assert bench.daemon.jobs == {}


def test_c12_a_map_that_the_server_cannot_give_either_is_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.server, "project_directory", lambda _: "/no/such/place")
    path = half_map(bench)
    path.unlink()
    sentence = failed_in_one_sentence(bench, bench.card())
    assert f"J1/{path.name}" in sentence
    assert "cannot be downloaded" in sentence


# ---- work is kept


class Counting(DirectDaemon):
    """Counts what it computes."""

    computed = 0

    def end_of(self, job_id: str, timeout_s: float, on_progress: OnProgress) -> JobEnd | None:
        is_new = self.jobs[job_id]["end"] is None
        end = super().end_of(job_id, timeout_s, on_progress)
        self.computed += is_new and end is not None
        return end


@pytest.fixture
def tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A place for tokens of this test alone."""
    from cryosparc.auth import get_default_auth_config_path

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    get_default_auth_config_path.cache_clear()
    yield
    get_default_auth_config_path.cache_clear()


def test_a_token_that_expires_in_the_middle_is_renewed_with_the_password(bench: Bench) -> None:
    card = bench.card()
    bench.daemon.slices = 3
    bench.daemon.between = lambda number: bench.standin.state.tokens.clear() if number == 2 else None
    assert bench.run(card) is End.COMPLETED
    assert bench.standin.job(card).status == "completed"


def test_work_is_kept_until_a_user_logs_in_again(bench: Bench, tokens: None) -> None:
    log_in(bench.standin.url, EMAIL, PASSWORD)
    card = bench.card()
    bench.server = V5Server(bench.standin.url)
    bench.daemon = daemon = Counting(slices=3)  # type: ignore[assignment]
    end_of = daemon.end_of

    def revoked(*given: object) -> JobEnd | None:
        bench.standin.state.tokens.clear()
        return end_of(*given)  # type: ignore[arg-type]

    daemon.end_of = revoked  # type: ignore[method-assign]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 5:
            log_in(bench.standin.url, EMAIL, PASSWORD)

    assert bench.run(card, sleep=sleep) is End.COMPLETED
    assert len(slept) >= 5
    assert daemon.computed == 1


def test_work_outlives_a_process_that_nobody_logged_in_for(bench: Bench, tokens: None) -> None:
    """Patience ends; the card says running, and whoever comes next publishes what was computed."""
    log_in(bench.standin.url, EMAIL, PASSWORD)
    card = bench.card()
    bench.server = V5Server(bench.standin.url)
    bench.daemon = daemon = Counting()  # type: ignore[assignment]
    end_of = daemon.end_of

    def revoked(*given: object) -> JobEnd | None:
        end = end_of(*given)  # type: ignore[arg-type]
        bench.standin.state.tokens.clear()
        return end

    daemon.end_of = revoked  # type: ignore[method-assign]
    memory, brief = Memory(bench.folder), CardPatience(server_s=0.2, login_s=0.2, pause_s=0.01)
    around = CardSurroundings(bench.server, daemon, memory, brief, lambda _: None)
    with memory.held(card) as held:
        assert held is not None
        with pytest.raises(NotLoggedIn, match="log in"):
            CardRun(around, held).run()
    assert bench.standin.job(card).status == "running"
    assert bench.remembered() == [card]
    daemon.end_of = end_of  # type: ignore[method-assign]
    log_in(bench.standin.url, EMAIL, PASSWORD)
    bench.server = V5Server(bench.standin.url)
    assert bench.run(card) is End.COMPLETED
    assert daemon.computed == 1
    assert bench.remembered() == []


def test_a_daemon_that_is_away_for_a_while_costs_nothing(bench: Bench) -> None:
    card = bench.card()
    bench.daemon.away = 20
    assert bench.run(card) is End.COMPLETED
    assert len(bench.daemon.jobs) == 1


def test_a_daemon_that_stays_away_fails_the_card_with_what_to_do(bench: Bench) -> None:
    card = bench.card()
    bench.daemon.away = 10**9
    memory = Memory(bench.folder)
    around = CardSurroundings(
        bench.server, bench.daemon, memory, CardPatience(daemon_s=0.2, pause_s=0.01), lambda _: None
    )
    with memory.held(card) as held:
        assert held is not None
        assert CardRun(around, held).run() is End.FAILED
    assert bench.standin.job(card).status == "failed"
    assert "start one with 'cryobridge serve'" in errors_of(bench, card)[-1]


def test_versions_of_patches_go_together_without_a_word(bench: Bench) -> None:
    server, said = connected(bench.standin.url, EMAIL, PASSWORD)
    assert said is None
    assert server.version == "v5.0.3"


# ---- options that are wrong


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"efort": "quick"}, ("efort", "effort")),
        ({"effort": "fast"}, ("effort", "quick")),
        ({"half_angle_deg": "many"}, ("half_angle_deg", "many")),
        ({"output": "/etc"}, ("output",)),
        ({"inputs": {"half1": "/etc/passwd"}}, ("inputs",)),
    ],
)
def test_what_is_wrong_in_a_description_is_said_on_the_card_in_the_words_of_the_job_schema(
    bench: Bench, options: dict[str, object], words: tuple[str, ...]
) -> None:
    sentence = failed_in_one_sentence(bench, bench.card("map.correct", **options))
    assert sentence.startswith("the options in this job's description: ")
    assert all(word in sentence for word in words)
    assert bench.daemon.jobs == {}


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ("```cryobridge\njob = map.correct\n", "does not end"),
        ("```cryobridge\njob = map.corect\n```", "'map.corect' is no job for CryoSPARC"),
        ("```cryobridge\nrm -rf /\n```", "is not written as 'key = value'"),
        ("x" * 30_000 + "```cryobridge\njob = map.fsc3d\n```", "shorten the description"),
    ],
)
def test_a_description_that_cannot_be_read_is_said_on_the_card(bench: Bench, description: str, words: str) -> None:
    card = bench.card()
    bench.server.set_description(card, description)
    assert words in failed_in_one_sentence(bench, card)
