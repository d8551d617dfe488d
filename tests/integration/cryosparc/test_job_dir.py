"""`cryosparc run --job-dir`: the whole way from a job's folder to groups that can be imported, without any server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from cryobridge.bridge.client import DaemonClient
from cryobridge.bridge.commands import cryosparc_folder
from cryobridge.bridge.commands.program import answer
from cryobridge.bridge.worker.jobs.runner import run_job
from cryobridge.schemas import wire
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.formats.cs_table import read_table, write_table

pytestmark = pytest.mark.shared
CLI = [sys.executable, "-m", "cryobridge.bridge.cli"]


@pytest.fixture
def job_dir(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A refinement's folder; the current folder is an empty one beside the project."""
    sample = shared / "cryosparc-standin" / "sample" / "CS-bridge-demo"
    shutil.copytree(sample, tmp_path / "CS-bridge-demo", copy_function=shutil.copyfile)
    for folder in (tmp_path / "CS-bridge-demo", tmp_path / "CS-bridge-demo" / "J1"):
        folder.chmod(0o755)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "CS-bridge-demo" / "J1"


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job is done in this process, which has torch already."""

    def done(job: Any) -> int:
        for _ in run_job(job.as_spec(), torch.device("cpu")):
            pass
        return wire.EXIT_OK

    monkeypatch.setattr(cryosparc_folder, "_done", done)


def run(job_dir: Path, kind: str, *more: str) -> int:
    return answer(["cryosparc", "run", "--job-dir", str(job_dir), "--job", kind, *more])


def as_it_is(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_map_correct_brings_groups_with_raw_half_maps_and_corrected_ones_apart(
    job_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = as_it_is(job_dir.parent)
    assert run(job_dir, "map.correct", "--set", "effort=quick") == 0
    assert as_it_is(job_dir.parent) == before
    output = Path.cwd() / "CS-bridge-demo-J1-map.correct"
    assert {one.stem for one in output.glob("*.csg")} == {"volume", "volume_corrected_halves", "fsc3d"}
    with (output / "volume.cs").open("rb") as file:
        row = np.load(file, allow_pickle=False)[0]
    assert row["uid"] == 1001
    assert (output / row["map/path"].decode()[1:]) == output / "corrected.mrc"
    assert (output / row["map_sharp/path"].decode()[1:]) == output / "postprocessed.mrc"
    for slot in ("map_half_A", "map_half_B", "mask_refine", "mask_fsc", "mask_fsc_auto"):
        assert (output / row[f"{slot}/path"].decode()[1:]).resolve() == job_dir / f"J1_003_volume_{slot}.mrc"
    halves = yaml.safe_load((output / "volume_corrected_halves.csg").read_text())
    assert "not a resolution" in halves["group"]["title"]
    assert list(halves["results"]) == ["map_half_A", "map_half_B"]
    out = capsys.readouterr().out
    assert f"half1: {job_dir}/J1_003_volume_map_half_A.mrc" in out
    assert f"{output}/volume.csg: Volume, with the raw half-maps" in out
    result = json.loads((output / "result.json").read_text())
    assert result["inputs"]["mask"]["path"] == str(job_dir / "J1_003_volume_mask_refine.mrc")
    # The next job takes the groups as it would take CryoSPARC's own.
    halves = f"volume_corrected_halves={output}/volume_corrected_halves.csg"
    group = output / "volume.csg"
    assert run(group, "map.diagnose", "--connect", halves, "--also-read", str(job_dir), "-o", "second") == 0
    inputs = json.loads(Path("second/result.json").read_text())["inputs"]
    assert inputs["half1"]["path"] == str(job_dir / "J1_003_volume_map_half_A.mrc")
    assert inputs["corrected1"]["path"] == str(output / "corrected_half1.mrc")


@pytest.mark.usefixtures("in_this_process")
def test_a_finished_result_is_not_replaced_unless_asked(job_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(job_dir, "map.fsc3d", "-o", "out") == 0
    volume = Path("out/FSC3D.mrc")
    made_at = volume.stat().st_mtime_ns
    assert run(job_dir, "map.fsc3d", "-o", "out", "--use-mask", "mask_fsc") == 1
    assert "holds a finished result; give another folder, or give --overwrite" in capsys.readouterr().err
    assert volume.stat().st_mtime_ns == made_at
    assert run(job_dir, "map.fsc3d", "-o", "out", "--use-mask", "mask_fsc", "--overwrite") == 0
    assert volume.stat().st_mtime_ns != made_at
    # What another job left there cannot be imported as if it were of this one.
    assert run(job_dir, "map.lowpass", "-o", "out", "--set", "resolution_A=20", "--overwrite") == 0
    assert [path.name for path in Path("out").glob("*.csg")] == ["volume.csg"]


def test_a_command_that_was_cut_off_before_its_groups_writes_them_when_given_again(
    job_dir: Path, in_this_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(job_dir, "map.fsc3d", "-o", "out") == 0
    Path("out/fsc3d.csg").unlink()
    monkeypatch.setattr(cryosparc_folder, "_done", lambda _: pytest.fail("it is done already"))
    assert run(job_dir, "map.fsc3d", "-o", "out") == 0
    assert Path("out/fsc3d.csg").exists()
    # A refinement that went on since then is another job.
    os.utime(job_dir / "J1_003_volume_map_half_A.mrc", (time.time() + 5,) * 2)
    assert run(job_dir, "map.fsc3d", "-o", "out") == 1


@pytest.mark.parametrize("where", ["J1", "J1/new", "J7/new", "S2/x", "link/new", ""])
def test_nothing_is_written_into_what_is_cryosparcs(
    job_dir: Path, in_this_process: None, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (job_dir.parent / "link").symlink_to("J1")
    before = as_it_is(job_dir.parent)
    assert run(job_dir, "map.fsc3d", "-o", str(job_dir.parent / where)) == 1
    assert "(--output): " in capsys.readouterr().err
    assert as_it_is(job_dir.parent) == before


def test_not_even_a_table_that_has_to_be_put_together_is_written_there(job_dir: Path, in_this_process: None) -> None:
    table = job_dir / "J1_003_particles.cs"
    columns = read_table(table)
    write_table(job_dir / "J1_passthrough_particles.cs", columns)
    write_table(table, {name: column for name, column in columns.items() if not name.startswith("alignments3D/")})
    before = as_it_is(job_dir.parent)
    assert run(job_dir, "map.sampling", "--set", "box=32", "-o", str(job_dir / "new")) == 1
    assert as_it_is(job_dir.parent) == before
    assert run(job_dir, "map.sampling", "--set", "box=32", "-o", "out") == 0
    (put_together,) = Path("out-inputs").iterdir()
    result = json.loads(Path("out/result.json").read_text())
    assert result["inputs"]["particles"]["path"] == str(put_together.absolute())
    assert run(job_dir, "map.sampling", "--set", "box=32", "-o", "out") == 0


@pytest.mark.usefixtures("in_this_process")
def test_a_new_folder_in_the_project_may_be_given(job_dir: Path) -> None:
    output = job_dir.parent / "exports" / "corrected"
    assert run(job_dir, "map.fsc3d", "-o", str(output)) == 0
    assert (output / "fsc3d.csg").exists()


def test_who_may_read_the_folder_around_it_may_read_a_result_of_a_daemon(job_dir: Path, in_this_process: None) -> None:
    Path("around").mkdir(mode=0o750)
    before = os.umask(0o077)
    try:
        assert run(job_dir, "map.fsc3d", "-o", "around/out") == 0
    finally:
        os.umask(before)
    assert Path("around/out").stat().st_mode & 0o777 == 0o750
    assert Path("around/out/FSC3D.mrc").stat().st_mode & 0o777 == 0o640
    assert Path("around/out/fsc3d.csg").stat().st_mode & 0o777 == 0o640


MIXED = {
    "both": (["--job-dir", "J1", "--project", "P3", "--volume", "J2"], "--project, --volume does not go with it"),
    "a server's address": (["--job-dir", "J1", "--url", "http://a"], "--url does not go with it"),
    "neither": ([], "--url, --project, --workspace is missing; or give --job-dir"),
    "half of a server": (["--url", "http://a", "--project", "P1"], "--workspace is missing; or give --job-dir"),
    "output without folder": (["--project", "P1", "--output", "x"], "--output goes with --job-dir only"),
    "mask without folder": (["--mask-dir", "J3"], "--mask-dir goes with --job-dir only"),
    "an option that there is not": (["--job-dir", "J1", "--set", "efort=quick"], "'efort'"),
    "a bad value": (["--job-dir", "J1", "--set", "limit_resolution_A=-3"], "limit_resolution_A"),
    "no folder behind connect": (["--job-dir", "J1", "--connect", "fsc3d"], "INPUT=FOLDER"),
}


@pytest.mark.parametrize("case", MIXED)
def test_options_of_server_and_folder_are_not_mixed(
    job_dir: Path, case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(job_dir.parent)
    monkeypatch.delenv("CRYOSPARC_BASE_URL", raising=False)
    arguments, sentence = MIXED[case]
    assert answer(["cryosparc", "run", "--job", "map.fsc3d", *arguments]) in (1, 2)
    assert sentence in capsys.readouterr().err


@pytest.mark.usefixtures("in_this_process")
def test_an_address_in_the_environment_does_not_matter(job_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYOSPARC_BASE_URL", "http://nowhere.example:39000")
    assert run(job_dir, "map.fsc3d", "-o", "out") == 0


def test_a_kind_that_there_is_not_is_one_sentence(job_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(job_dir, "map.fcs3d") == 1
    assert "'map.fcs3d' is no job for CryoSPARC; there are map." in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("private_runtime")
def test_without_a_daemon_and_without_cryosparc_tools_it_runs_here(job_dir: Path) -> None:
    code = "import sys; sys.modules['cryosparc'] = sys.modules['httpx'] = None\n"
    code += "from cryobridge.bridge.commands.program import answer; sys.exit(answer(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "cryosparc", "run", "--job-dir", str(job_dir), "--job", "map.fsc3d"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "no daemon answers; running here, in the foreground" in done.stderr
    assert Path("CS-bridge-demo-J1-map.fsc3d/fsc3d.csg").exists()


@pytest.mark.slow
def test_a_daemon_of_this_user_does_it_and_one_of_another_does_not(
    job_dir: Path, private_runtime: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = subprocess.Popen([*CLI, "serve"], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 30
        while time.monotonic() < until and answer(["jobs"]) != 0:
            time.sleep(0.2)
        assert run(job_dir, "map.fsc3d", "-o", "out") == 0
        assert Path("out/fsc3d.csg").exists()
        capsys.readouterr()
        answer(["jobs"])
        assert "map.fsc3d" in capsys.readouterr().out
        monkeypatch.setattr(DaemonClient, "uid", property(lambda _: os.getuid() + 1))
        monkeypatch.setattr(cryosparc_folder, "run_in_foreground", lambda _: wire.EXIT_FAILED)
        assert run(job_dir, "map.fsc3d", "-o", "other") == 1
        assert "not yours; running here, in the foreground" in capsys.readouterr().err
    finally:
        daemon.terminate()
        daemon.wait(20)


def test_the_maps_of_a_group_are_those_of_the_result(job_dir: Path, in_this_process: None) -> None:
    assert run(job_dir, "map.fsc3d", "-o", "out") == 0
    with Path("out/fsc3d.cs").open("rb") as file:
        row = np.load(file, allow_pickle=False)[0]
    volume, header = mrc.read(Path("out") / row["map/path"].decode()[1:])
    assert row["map/shape"].tolist() == list(volume.shape)
    assert row["map/psize_A"] == np.float32(header.voxel_size_A[0])
