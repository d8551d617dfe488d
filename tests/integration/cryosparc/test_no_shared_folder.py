"""A bridge that does not see the project's folder, or may not write there: files come and go through the server."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.cryosparc import EMAIL, PASSWORD, QUICK

from cryobridge.wrappers.cryosparc.card import publishing
from cryobridge.wrappers.cryosparc.card.card_run import CardRun, CardSurroundings, End
from cryobridge.wrappers.cryosparc.card.memory import Memory
from cryobridge.wrappers.cryosparc.card.new_card import new_card
from cryobridge.wrappers.cryosparc.documents import CardId, Source
from cryobridge.wrappers.cryosparc.options_block import CardOptions
from cryobridge.wrappers.cryosparc.patience import CardPatience
from cryobridge.wrappers.cryosparc.server import Unreachable
from cryobridge.wrappers.cryosparc.v5 import one_try
from cryobridge.wrappers.cryosparc.v5.sinks import IntoFile
from cryobridge.wrappers.formats.cs_table import read_table, write_table

from .conftest import Bench

pytestmark = pytest.mark.shared
Operation = Callable[..., Any]


@pytest.fixture
def patched(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[Operation], Operation]], None]:
    """Changes what an operation of the stand-in does: takes its name, and what makes the new one of the old."""

    def patch(name: str, change: Callable[[Operation], Operation]) -> None:
        route = next(one for one in sys.modules["standin"].ROUTES if one["name"] == name)
        monkeypatch.setitem(route, "fn", change(route["fn"]))

    return patch


@pytest.fixture
def apart(bench: Bench, patched: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench on another machine: the server's folder is not there under its name. Pauses are short."""
    patched("projects.get_directory", lambda _: lambda *_args, **_more: "/on/another/machine/CS-1")
    monkeypatch.setattr(publishing, "UPLOAD_PAUSES_S", (0.0, 0.0))
    return bench


def uploads(bench: Bench) -> list[str]:
    return [one for one in bench.standin.state.calls if one["op"] == "projects.upload_file"]


def card_files(bench: Bench, card: CardId) -> Path:
    return bench.standin.project() / card.job


def work(bench: Bench) -> list[Path]:
    folder = bench.folder / "work"
    return list(folder.rglob("*")) if folder.exists() else []


def said(bench: Bench, card: CardId) -> str:
    return "\n".join(event.text for event in bench.standin.log_of(card) if event.type == "error")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["map.fsc3d", "map.correct"])
def test_inputs_come_and_outputs_go_through_the_server(apart: Bench, kind: str) -> None:
    card = apart.card(kind, **({"effort": "quick"} if kind == "map.correct" else {}))
    assert apart.run(card) is End.COMPLETED
    (name,) = apart.daemon.jobs
    spec = apart.daemon.jobs[name]["spec"]
    assert all(str(apart.folder / "work") in path for path in spec["inputs"].values() if path)
    folder = card_files(apart, card)
    result = json.loads((folder / "result.json").read_text())
    assert result["outputs"]
    for output, record in result["outputs"].items():
        assert (folder / output).stat().st_size == record["size_bytes"]
    columns = apart.server.load_output(card, "fsc3d")
    assert columns["map/path"].tolist() == [f"{card.job}/FSC3D.mrc"]
    assert work(apart) == []
    if kind == "map.correct":
        child = apart.card("map.diagnose")
        apart.server.connect(child, "volume_corrected_halves", Source(card.job, "volume_corrected_halves"))
        assert apart.run(child) is End.COMPLETED
        told = json.loads((card_files(apart, child) / "result.json").read_text())
        assert told["inputs"]["corrected1"]["sha256"] == result["outputs"]["corrected_half1.mrc"]["sha256"]


def test_a_folder_that_may_only_be_read_is_read_and_written_through_the_server(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cryobridge.wrappers.cryosparc.card.project_files._can_write", lambda _: False)
    card = bench.card()
    assert bench.run(card) is End.COMPLETED
    (name,) = bench.daemon.jobs
    assert bench.daemon.jobs[name]["spec"]["inputs"]["half1"].startswith(str(bench.standin.project()))
    assert bench.server.load_output(card, "fsc3d")["map/path"].tolist() == [f"{card.job}/FSC3D.mrc"]


def test_a_folder_of_the_same_name_that_is_another_is_not_taken_for_it(
    bench: Bench, patched: Callable[..., None], tmp_path: Path
) -> None:
    other = tmp_path / "CS-1"
    (other / "J1").mkdir(parents=True)
    patched("projects.get_directory", lambda _: lambda *_args, **_more: str(other))
    card = bench.card()
    assert bench.run(card) is End.COMPLETED
    assert list(other.rglob("*")) == [other / "J1"]


def test_others_may_read_what_a_daemon_of_one_user_wrote_into_the_project(bench: Bench) -> None:
    before = os.umask(0o077)
    try:
        card = bench.card()
        card_files(bench, card).mkdir(exist_ok=True)
        card_files(bench, card).chmod(0o755)
        assert bench.run(card) is End.COMPLETED
    finally:
        os.umask(before)
    folder = card_files(bench, card) / "cryobridge"
    assert folder.stat().st_mode & 0o777 == 0o755
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in folder.iterdir())


# ---- faults of uploads


def cutting(times: int, keep: Callable[[bytes], bytes]) -> Callable[[Operation], Operation]:
    """An upload that loses bytes so many times, and says nothing."""
    left = [times]

    def change(upload: Operation) -> Operation:
        def upload_file(state: Any, query: Any, body: bytes, project_uid: str) -> Any:
            if query["path"].endswith("FSC3D.mrc") and left[0] > 0:
                left[0] -= 1
                body = keep(body)
            return upload(state, query, body=body, project_uid=project_uid)

        return upload_file

    return change


@pytest.mark.parametrize("keep", [lambda body: b"", lambda body: body[:-1] + b"x"], ids=["empty", "damaged"])
def test_an_upload_that_arrives_damaged_is_sent_again(
    apart: Bench, patched: Callable[..., None], keep: Callable[[bytes], bytes]
) -> None:
    patched("projects.upload_file", cutting(2, keep))
    card = apart.card()
    assert apart.run(card) is End.COMPLETED
    (name,) = apart.daemon.jobs
    assert (card_files(apart, card) / "FSC3D.mrc").stat().st_size == 132096
    assert not Path(apart.daemon.jobs[name]["spec"]["output"]).exists()


def test_uploads_that_never_arrive_whole_fail_the_card_with_the_file_named(
    apart: Bench, patched: Callable[..., None]
) -> None:
    patched("projects.upload_file", cutting(99, lambda body: body[:1000]))
    card = apart.card()
    assert apart.run(card) is End.FAILED
    assert apart.standin.job(card).status == "failed"
    assert "FSC3D.mrc (132096 bytes) does not arrive whole at the server; is its disk full?" in said(apart, card)
    assert work(apart) == []


@pytest.mark.parametrize(("status", "times"), [(507, 2), (500, 99)])
def test_a_server_whose_disk_is_full_is_given_time_and_then_named(
    apart: Bench, patched: Callable[..., None], status: int, times: int
) -> None:
    left = [times]

    def change(upload: Operation) -> Operation:
        def upload_file(state: Any, query: Any, body: bytes, project_uid: str) -> Any:
            if query["path"].endswith("FSC3D.mrc") and left[0] > 0:
                left[0] -= 1
                raise sys.modules["standin"].Refused(status, "No space left on device")
            return upload(state, query, body=body, project_uid=project_uid)

        return upload_file

    patched("projects.upload_file", change)
    card = apart.card()
    assert apart.run(card) is (End.COMPLETED if times == 2 else End.FAILED)
    assert ("No space left on device" in said(apart, card)) is (times == 99)


@pytest.mark.parametrize("drop", ["before", "after"])
def test_a_lost_answer_costs_no_second_upload(apart: Bench, drop: str) -> None:
    card = apart.card()
    real, sent = apart.server.upload, []

    def upload(where: CardId, name: str, content: Any, *, overwrite: bool) -> None:
        if name == "FSC3D.mrc" and name not in sent:
            apart.standin.fault("projects.upload_file", drop=drop)
        sent.append(name)
        real(where, name, content, overwrite=overwrite)

    apart.server.upload = upload  # type: ignore[method-assign]
    assert apart.run(card) is End.COMPLETED
    assert sent.count("FSC3D.mrc") == (1 if drop == "after" else 2)


def test_the_next_process_goes_on_after_the_upload_that_was_the_last(apart: Bench) -> None:
    card = apart.card()
    real, sent = apart.server.upload, []

    def upload(where: CardId, name: str, content: Any, *, overwrite: bool) -> None:
        if len(sent) == 3:
            # The fourth file arrives, and the process is gone before it can note so.
            real(where, name, content, overwrite=overwrite)
            sent.append(name)
        if len(sent) >= 4:
            raise Unreachable("killed")
        sent.append(name)
        real(where, name, content, overwrite=overwrite)

    apart.server.upload = upload  # type: ignore[method-assign]
    none = CardPatience(server_s=0.0, login_s=0.0, daemon_s=0.0, pause_s=0.0, longest_pause_s=0.0)
    around = CardSurroundings(apart.server, apart.daemon, Memory(apart.folder), none, lambda _: None)
    with around.memory.held(card) as held:
        assert held is not None
        run = CardRun(around, held)
        with pytest.raises(Unreachable):
            run.run()
    assert apart.standin.job(card).status == "running"
    apart.server.upload = lambda where, name, content, *, overwrite: (  # type: ignore[method-assign]
        sent.append(name),
        real(where, name, content, overwrite=overwrite),
    )[1]
    assert apart.run(card) is End.COMPLETED
    results = [name for name in sent if not name.startswith("bridge_claim")]
    assert sorted(results) == sorted(set(results))
    assert len(apart.daemon.jobs) == 1


# ---- faults of downloads


def test_a_file_that_the_server_has_not_fails_at_once_with_its_path(apart: Bench) -> None:
    card = apart.card()
    (apart.standin.project() / "J1" / "J1_003_volume_map_half_A.mrc").unlink()
    assert apart.run(card) is End.FAILED
    assert "J1/J1_003_volume_map_half_A.mrc" in said(apart, card)
    assert "run the job it comes from again" in said(apart, card)
    assert work(apart) == []


def cut_downloads(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Have the stand-in hang up in the middle of half-map A so many times."""
    handler = sys.modules["standin"].Handler
    send_file, left = handler.send_file, [times]

    def cut(self: Any, code: int, path: Path, media: str) -> None:
        if "half_A" not in path.name or left[0] <= 0:
            send_file(self, code, path, media)
            return
        left[0] -= 1
        self.send_response(code)
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(path.stat().st_size))
        self.end_headers()
        self.wfile.write(path.read_bytes()[:50_000])
        self.close_connection = True

    monkeypatch.setattr(handler, "send_file", cut)


def test_a_download_that_is_cut_off_is_begun_again(apart: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_downloads(monkeypatch, 5)
    # Or the part that came would never leave the buffer.
    monkeypatch.setattr(one_try, "_CHUNK_BYTES", 1000)
    card = apart.card()
    assert apart.run(card) is End.COMPLETED
    told = json.loads((card_files(apart, card) / "result.json").read_text())
    assert told["inputs"]["half1"]["size_bytes"] == 132096


def test_downloads_that_are_always_cut_off_end_and_leave_no_half_file(
    apart: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cut_downloads(monkeypatch, 10_000)
    with pytest.raises(Unreachable, match=r"J1/J1_003_volume_map_half_A\.mrc cannot be downloaded"):
        apart.server.download("P1", "J1/J1_003_volume_map_half_A.mrc", tmp_path / "half.mrc")
    assert list(tmp_path.glob("half*")) == []
    assert list(tmp_path.glob(".half*")) == []


def test_no_room_for_inputs_is_one_sentence(apart: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: IntoFile, chunk: bytes) -> bool:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(IntoFile, "take", full)
    card = apart.card()
    assert apart.run(card) is End.FAILED
    assert "No space left on device while J1/J1_003_volume_" in said(apart, card)
    assert "XDG_STATE_HOME" in said(apart, card)
    assert work(apart) == []


def test_a_claim_that_is_a_giant_file_is_not_read_whole(bench: Bench) -> None:
    giant = bench.standin.project() / "J1" / "giant.json"
    with giant.open("wb") as file:
        file.truncate(1 << 30)
    content = bench.server.read("P1", "J1/giant.json", 1000)
    assert content == bytes(1000)
    assert bench.server.read("P1", "J1/none.json", 1000) is None


PEAK = """
    import re, sys
    from pathlib import Path
    from cryobridge.wrappers.cryosparc.documents import CardId
    from cryobridge.wrappers.cryosparc.v5.adapter import V5Server
    def peak():
        # Not ru_maxrss, which a new process has from the one that started it.
        return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
    server = V5Server(sys.argv[1], sys.argv[2], sys.argv[3])
    server.download("P1", "J1/job.json", Path(sys.argv[4] + ".first"))
    before = peak()
    server.download("P1", "J1/large.mrc", Path(sys.argv[4]))
    server.upload(CardId("P1", "J1"), "sent.mrc", Path(sys.argv[4]), overwrite=True)
    print((peak() - before) >> 10)
"""


@pytest.mark.slow
def test_large_files_do_not_go_through_memory(bench: Bench, tmp_path: Path) -> None:
    size = 256 << 20
    large = bench.standin.project() / "J1" / "large.mrc"
    with large.open("wb") as file:
        file.truncate(size)
    arguments = [bench.standin.url, EMAIL, PASSWORD, str(tmp_path / "here.mrc")]
    command = [sys.executable, "-c", textwrap.dedent(PEAK), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert int(done.stdout) < 64, "MiB more than before"
    assert (tmp_path / "here.mrc").stat().st_size == size
    assert (bench.standin.project() / "J1" / "sent.mrc").stat().st_size == size


# ---- masks that are not there


def test_a_mask_that_is_asked_for_and_not_there_is_never_left_out(bench: Bench) -> None:
    table = bench.standin.project() / "J1" / "J1_003_volume.cs"
    columns = read_table(table)
    write_table(table, {**columns, "mask_fsc/path": np.array([""])})
    asked = CardOptions("map.fsc3d", use_mask="mask_fsc")
    card = new_card(bench.server, "P1", "W1", asked, {"volume": Source("J1", "")}, "cryobridge", QUICK)
    assert bench.run(card) is End.FAILED
    assert "has no mask_fsc; choose another" in said(bench, card)


# ---- links out of the project (C2)


def test_a_link_out_of_the_project_is_followed_only_with_leave(bench: Bench, tmp_path: Path) -> None:
    half = bench.standin.project() / "J1" / "J1_003_volume_map_half_A.mrc"
    away = tmp_path / "away"
    away.mkdir()
    half.rename(away / half.name)
    half.symlink_to(away / half.name)
    refused, allowed = bench.card(), bench.card()
    assert bench.run(refused) is End.FAILED
    assert f"{half} leads out of the project, to {away / half.name}, and the server does not give it" in said(
        bench, refused
    )
    assert "--also-read" in said(bench, refused)
    assert bench.run(allowed, also_read=[away]) is End.COMPLETED


def test_links_in_a_circle_are_one_sentence(bench: Bench) -> None:
    half = bench.standin.project() / "J1" / "J1_003_volume_map_half_A.mrc"
    half.unlink()
    half.symlink_to(half.name)
    card = bench.card()
    assert bench.run(card) is End.FAILED
    assert "its links lead in a circle" in said(bench, card)
