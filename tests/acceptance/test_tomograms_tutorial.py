"""Every command of docs/tomograms.md, run as it is written, with small networks on a crop of a real tomogram."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from support.map_jobs import run_map_job

from cryobridge.bridge import cli
from cryobridge.bridge.commands import kinds
from cryobridge.schemas import job as jobs
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.tomograms.table import read_tomogram_table

pytestmark = [pytest.mark.acceptance]

DOCUMENT = Path(__file__).parents[2] / "docs" / "tomograms.md"
TEXT = DOCUMENT.read_text()
SHAPE, FIRST_BYTE, VOXEL_A = (36, 206, 94), 704, 10.52
"""Of the crop (z, y, x): one byte a voxel, section by section."""
SMALLER = {
    "tomo extract": "--cube_size 16 --crop_size 24 --number_subtomos 12",
    "tomo refine subtomo/subtomo.star --continue_from": "--iterations 3",
    "tomo refine": "--iter 2 --noise_start_iter 1,2 --epochs 1 --steps_per_epoch 2 --filter_base 4 --unet_depth 1 "
    "--convs_per_depth 1",
    "tomo predict": "--cube_size 48 --crop_size 64",
}
"""What the commands get besides what they say."""
INLINE = sorted(set(re.findall(r"`(cryobridge tomo [a-z-]+ [^-`][^`]*)`", TEXT)))
PATIENCE_S = 600


def commands() -> list[str]:
    """The command lines of the document."""
    found = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    return [line for block in found for line in block.strip().splitlines()]


def microtubule(shared: Path) -> np.ndarray:
    """A crop of a real tomogram, (z, y, x), protein dark; skips where it is not."""
    path = shared / "data" / "tomograms" / "microtubule_13pf.tif"
    if not path.is_file():
        pytest.skip("data/tomograms/microtubule_13pf.tif is not in the shared data folder")
    grey = np.frombuffer(path.read_bytes(), np.uint8, int(np.prod(SHAPE)), FIRST_BYTE).reshape(SHAPE)
    return (255.0 - grey).astype(np.float32)


def run(line: str, folder: Path) -> None:
    words = shlex.split(line)
    extra = next((more for start, more in SMALLER.items() if " ".join(words[1:]).startswith(start)), "")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("cryobridge")), *words[1:], *extra.split()],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"


@contextlib.contextmanager
def daemon() -> Iterator[None]:
    """The one that the last commands need, in the places of `private_runtime`."""
    program = str(Path(sys.executable).with_name("cryobridge"))
    settings = {**os.environ, "CRYOBRIDGE_DEVICES": "cpu", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([program, "serve"], env=settings, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def job_of(command: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What a command asks for, without doing it."""
    asked: list[dict[str, object]] = []

    def noted(path: Path, **_: object) -> int:
        asked.append(json.loads(path.read_text()))
        return 0

    monkeypatch.setattr(kinds, "run_in_foreground", noted)
    monkeypatch.setattr(jobs, "check_paths", lambda _: None)
    assert cli.run(shlex.split(command)[1:]) == 0
    (job,) = asked
    return job


@pytest.mark.slow
@pytest.mark.timeout(2 * PATIENCE_S)
def test_every_command_of_the_tutorial_runs_on_a_real_tomogram(
    shared: Path, tmp_path: Path, private_runtime: object
) -> None:
    volume = microtubule(shared)
    (tmp_path / "tomograms").mkdir()
    mrc.write_atomically(tmp_path / "tomograms" / "microtubule.mrc", volume, VOXEL_A)
    with daemon():
        for line in commands():
            run(line, tmp_path)
    for folder in ("corrected_tomos", "night/corrected"):
        corrected, header = mrc.read(tmp_path / folder / "microtubule_corrected.mrc")
        assert corrected.shape == SHAPE
        assert header.voxel_size_A == pytest.approx((VOXEL_A,) * 3, rel=1e-6)
        assert np.isfinite(corrected).all()
        # Of the deconvolved tomogram, which has the grey scale of the tomogram.
        assert corrected.mean() == pytest.approx(float(volume.mean()), abs=0.3 * float(volume.std()))
    (row,) = read_tomogram_table(tmp_path / "prepared" / "tomograms.star").tomograms
    assert row.corrected == tmp_path / "night" / "corrected" / "microtubule_corrected.mrc"
    assert row.mask == tmp_path / "mask" / "microtubule_mask.mrc"
    assert row.deconv == tmp_path / "night" / "deconv" / "microtubule_deconv.mrc"
    assert row.number("rlnSnrFalloff") == pytest.approx(0.7)
    states = [json.loads((tmp_path / name / "refine.json").read_text()) for name in ("results", "results50")]
    options = [state["options"] for state in states]
    assert {key for key, value in options[0].items() if options[1][key] != value} == {"iterations"}


@pytest.mark.parametrize("command", INLINE)
def test_a_command_within_the_text_is_understood(command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is a variant of one that is run, with other files."""
    monkeypatch.chdir(tmp_path)
    assert job_of(command, monkeypatch)["kind"] == ".".join(command.split()[1:3]).replace("-", "_")


def test_the_file_of_the_tutorial_is_the_job_of_its_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    (command,) = [line for line in commands() if line.startswith("cryobridge tomo deconv") and "night" not in line]
    by_command = jobs.parse_job(job_of(command, monkeypatch), "command")
    by_file = jobs.parse_job(yaml.safe_load(block), "deconv.yaml").resolved(tmp_path)
    assert by_file.as_spec() == by_command.as_spec()


def test_every_picture_of_the_tutorial_is_there_and_small() -> None:
    pictures = [DOCUMENT.parent / name for name in re.findall(r"!\[[^]]*\]\(([^)]+)\)", TEXT)]
    assert len(pictures) == 2
    assert all(picture.stat().st_size < 100_000 for picture in pictures)


def test_a_real_reconstruction_of_imod_goes_through(shared: Path, tmp_path: Path) -> None:
    """One byte a voxel, from before headers held the word MAP."""
    path = shared / "data" / "tomograms" / "tardis_rec3D.rec.gz"
    if not path.is_file():
        pytest.skip("data/tomograms/tardis_rec3D.rec.gz is not in the shared data folder")
    tomogram = tmp_path / "tomograms" / "tardis_rec3D.rec"
    tomogram.parent.mkdir()
    tomogram.write_bytes(gzip.decompress(path.read_bytes()))
    star = tmp_path / "prepared" / "tomograms.star"
    run_map_job("tomo.prepare_star", star.parent, {"folder": tmp_path / "tomograms"}, {"defocus": 40000})
    run_map_job("tomo.deconv", tmp_path / "deconv", {"star": star}, {"output_type": "input"})
    run_map_job("tomo.make_mask", tmp_path / "mask", {"star": star})
    run_map_job("tomo.extract", tmp_path / "sub", {"star": star}, {"cube_size": 8, "number_subtomos": 5})
    run_map_job("tomo.resize", tmp_path / "resized", {"star": star}, {"apix": 46.4})
    before, after = (mrc.read_header(one) for one in (tomogram, tmp_path / "deconv" / "tardis_rec3D_deconv.mrc"))
    assert (after.shape, after.voxel_size_A, after.dtype) == ((78, 64, 32), before.voxel_size_A, np.int8)
    assert len(list((tmp_path / "sub").glob("tardis_rec3D_*.mrc"))) == 5
    assert mrc.read_header(tmp_path / "resized" / "tardis_rec3D_resized.mrc").shape == (39, 32, 16)
