"""Every kind of map job with every kind of bad file: one sentence that names it, a failing exit, nothing changed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
from support import bad_maps
from support.bad_maps import BOX, VOXEL_SIZE_A, Spoil

from cryobridge.bridge.worker import run
from cryobridge.core.correction import CorrectionState
from cryobridge.schemas.correction import CorrectionOptions
from cryobridge.schemas.describe import describe_kind
from cryobridge.schemas.job import JOB_MODELS, user_kinds
from cryobridge.wrappers.formats import mrc

pytestmark = [pytest.mark.acceptance]


@dataclass(frozen=True)
class Kind:
    """A kind of job with good inputs, and what each of them may be spoilt with."""

    inputs: Mapping[str, str]
    spoils: Mapping[str, tuple[Spoil, ...]]
    options: Mapping[str, Any] = field(default_factory=dict)
    output: str = ""
    """One of its maps."""


FIRST, SECOND = bad_maps.NO_HALF_MAP, (*bad_maps.NO_HALF_MAP, *bad_maps.NOT_OF_THE_SAME_GRID)
SPOILS: dict[str, tuple[str, tuple[Spoil, ...]]] = {
    "half1": ("half1.mrc", FIRST),
    "half2": ("half2.mrc", SECOND),
    "map": ("half1.mrc", FIRST),
    "high": ("half2.mrc", FIRST),
    "low": ("half1.mrc", SECOND),
    "corrected1": ("corrected1.mrc", SECOND),
    "corrected2": ("corrected2.mrc", SECOND),
    "reference": ("reference.mrc", SECOND),
    "mask": ("mask.mrc", bad_maps.NO_MASK),
    "fsc3d": ("fsc3d.mrc", (*bad_maps.NO_MAP, bad_maps.other_box)),
    "network": ("network.safetensors", bad_maps.NO_NETWORK),
    "particles": ("particles.star", bad_maps.NO_VIEWS),
}
"""For each input that a kind may have: a good file, and what it may be spoilt with. The name of an input is enough,
since one name means one thing in all kinds; a new one has to be added here."""
QUICK = {"steps": 1, "preset": "tiny", "cube_size": 16, "crop_size": 32, "batch": 1}
OPTIONS: dict[str, dict[str, Any]] = {
    "map.whiten": {"low_resolution_A": 16.0, "high_resolution_A": 5.0},
    "map.postprocess": {"sharpening": "none"},
    "map.correct": QUICK,
    "map.sampling": {"box": BOX, "grid": 16},
}
"""Where the defaults and examples do not suit maps as small as these."""


def described(kind: str) -> Kind:
    """A kind with all its inputs, from the registry."""
    found = describe_kind(JOB_MODELS[kind])
    known = {given.key: SPOILS[given.key] for given in found.inputs if given.is_path}
    return Kind(
        inputs={key: file for key, (file, _) in known.items()},
        spoils={key: spoils for key, (_, spoils) in known.items()},
        options={**found.example()["options"], **OPTIONS.get(kind, {})},
        output=next(output.pattern for output in found.outputs if output.always and output.pattern.endswith(".mrc")),
    )


def reads_maps(kind: str) -> bool:
    """Whether a kind is for maps; the bad files of others are of other sorts, and stand in their own tests."""
    return any(given.key in SPOILS for given in describe_kind(JOB_MODELS[kind]).inputs) and kind.startswith("map.")


KINDS = {kind: described(kind) for kind in user_kinds() if reads_maps(kind)}
CASES = [
    pytest.param(kind, slot, spoil, id=f"{kind}-{slot}-{spoil.__name__}")
    for kind, described in KINDS.items()
    for slot, spoils in described.spoils.items()
    for spoil in spoils
]


@pytest.fixture(scope="module")
def good_files() -> dict[str, bytes]:
    """Two noisy views of one map and everything that may go with them, by name."""
    generator = np.random.default_rng(0)
    distance = np.linalg.norm(np.indices((BOX,) * 3) - BOX / 2, axis=0)
    ball = np.exp(-((distance / 4) ** 2))
    texture = ball * generator.standard_normal(distance.shape)
    maps = {
        name: (texture + 0.2 * generator.standard_normal(distance.shape)).astype(np.float32)
        for name in ("half1", "half2", "corrected1", "corrected2", "reference")
    }
    maps["mask"] = np.clip(7 - distance, 0, 1).astype(np.float32)
    maps["fsc3d"] = np.exp(-((distance / 6) ** 2)).astype(np.float32)
    files = {f"{name}.mrc": packed_map(volume) for name, volume in maps.items()}
    options = CorrectionOptions(**QUICK)
    files["network.safetensors"] = safetensors.torch.save(CorrectionState.new(options, "cpu").tensors())
    rows = "".join(f"{10.5 + i} {(37 * i) % 180} {(11 * i) % 360}\n" for i in range(100))
    columns = "_rlnAngleRot #1\n_rlnAngleTilt #2\n_rlnAnglePsi #3\n"
    files["particles.star"] = f"\ndata_particles\n\nloop_\n{columns}{rows}\n".encode()
    return files


def packed_map(volume: np.ndarray) -> bytes:
    descriptor = os.memfd_create("map")
    try:
        written = mrc.write(descriptor, volume, VOXEL_SIZE_A)
        return os.pread(descriptor, written.size, 0)
    finally:
        os.close(descriptor)


@dataclass
class Ended:
    """What a job that was run left."""

    code: int
    said: list[str]
    changed: list[str]


class Folder:
    """A user's folder with the files of a job."""

    def __init__(self, path: Path, files: Mapping[str, bytes], capture: pytest.CaptureFixture[str]) -> None:
        self.path, self._capture = path, capture
        for name, content in files.items():
            (path / name).write_bytes(content)

    def run(self, kind: str, output: str = "out", *, overwrite: bool = False, inputs: Any = None) -> Ended:
        """Run a job file as `cryobridge run` does, in this process."""
        table = KINDS[kind]
        spec = {
            "schema": "cryobridge/job/1",
            "kind": kind,
            "inputs": {**table.inputs, **(inputs or {})},
            "output": output,
            "options": dict(table.options),
            "run": {"overwrite": overwrite, "devices": "cpu"},
        }
        (self.path / "job.json").write_text(json.dumps(spec))
        before = self._everything()
        self._capture.readouterr()
        arguments = sys.argv
        sys.argv = ["run", str(self.path / "job.json")]
        try:
            code = run.main()
        finally:
            sys.argv = arguments
        after = self._everything()
        changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        return Ended(code, self._capture.readouterr().err.splitlines(), changed)

    def _everything(self) -> dict[str, str]:
        found = {}
        for path in self.path.rglob("*"):
            is_file = path.is_file() and not path.is_symlink()
            found[str(path.relative_to(self.path))] = hashlib.sha256(path.read_bytes()).hexdigest() if is_file else ""
        return found


@pytest.fixture
def folder(tmp_path: Path, good_files: dict[str, bytes], capsys: pytest.CaptureFixture[str]) -> Folder:
    return Folder(tmp_path, good_files, capsys)


def refused(ended: Ended, named: Path) -> None:
    """Fail unless the job ended with one sentence about a file and left everything as it was."""
    assert ended.code != 0
    assert len(ended.said) == 1, ended.said
    assert str(named) in ended.said[0]
    assert "Traceback" not in ended.said[0]
    assert ended.changed == []


@pytest.mark.parametrize(("kind", "slot", "spoil"), CASES)
def test_bad_file_is_one_sentence_and_nothing_is_changed(folder: Folder, kind: str, slot: str, spoil: Spoil) -> None:
    named = folder.path / KINDS[kind].inputs[slot]
    spoil(named)
    refused(folder.run(kind), named)


@pytest.mark.parametrize("kind", KINDS)
def test_same_job_with_good_files_succeeds(folder: Folder, kind: str) -> None:
    """Else the table above would say nothing."""
    ended = folder.run(kind)
    assert ended.code == 0, ended.said
    assert f"out/{KINDS[kind].output}" in ended.changed
    assert {"out/job.yaml", "out/result.json"} <= set(ended.changed)
    assert all(name == "out" or name.startswith("out/") for name in ended.changed)


def file_in_place_of_the_folder(folder: Path, _: str) -> str:
    (folder / "out").write_text("notes")
    return "out"


def finished_result(folder: Path, _: str) -> str:
    (folder / "out").mkdir()
    (folder / "out" / "result.json").write_text("{}")
    return "out"


def somebodys_maps(folder: Path, _: str) -> str:
    (folder / "out").mkdir()
    (folder / "out" / "run_class001.mrc").write_bytes(b"precious")
    return "out"


def folder_below_a_file(folder: Path, _: str) -> str:
    (folder / "notes").write_text("notes")
    return "notes/out"


def folder_that_cannot_be_written(folder: Path, _: str) -> str:
    """Root may write into folders whatever their mode, but nobody makes folders in /proc."""
    if os.geteuid() == 0:
        return "/proc/out"
    (folder / "closed").mkdir(mode=0o500)
    return "closed/out"


OUTPUTS = [
    file_in_place_of_the_folder,
    finished_result,
    somebodys_maps,
    folder_below_a_file,
    folder_that_cannot_be_written,
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", OUTPUTS, ids=[make.__name__ for make in OUTPUTS])
def test_unusable_output_folder_is_one_sentence_and_nothing_is_changed(
    folder: Folder, kind: str, make: Callable[[Path, str], str]
) -> None:
    output = make(folder.path, kind)
    refused(folder.run(kind, output), folder.path / output)


@pytest.mark.parametrize("overwrite", [False, True], ids=["", "overwrite"])
@pytest.mark.parametrize("kind", KINDS)
def test_input_under_the_name_of_an_output_is_never_replaced(folder: Folder, kind: str, overwrite: bool) -> None:
    slot, name = next(iter(KINDS[kind].inputs.items()))
    (folder.path / "out").mkdir()
    taken = folder.path / "out" / KINDS[kind].output
    (folder.path / name).rename(taken)
    refused(folder.run(kind, overwrite=overwrite, inputs={slot: f"out/{KINDS[kind].output}"}), taken.parent)


@pytest.mark.shared
@pytest.mark.parametrize("kind", [kind for kind in KINDS if "mask" in KINDS[kind].inputs])
def test_real_map_that_is_no_cube_and_real_mask_of_another_shape(folder: Folder, shared: Path, kind: str) -> None:
    for name, slot in (
        ("emd_3001.map.gz", next(iter(KINDS[kind].inputs))),
        ("emd_3488_contour_mask_91x91x100.mrc.gz", "mask"),
    ):
        path = shared / "data" / "maps_real" / name
        refused(folder.run(kind, inputs={slot: str(path)}), path)


@pytest.fixture
def command(folder: Folder) -> Callable[..., subprocess.CompletedProcess[str]]:
    def start(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cryobridge.bridge.cli", *arguments],
            cwd=folder.path,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return start


@pytest.mark.parametrize(
    "spoil", [bad_maps.missing, bad_maps.not_a_number, bad_maps.damaged_gzip], ids=lambda spoil: spoil.__name__
)
def test_the_command_itself(
    folder: Folder, command: Callable[..., subprocess.CompletedProcess[str]], spoil: Spoil
) -> None:
    spoil(folder.path / "half2.mrc")
    ended = command("map", "fsc3d", "half1.mrc", "half2.mrc", "-o", "out")
    said = ended.stderr.splitlines()
    assert ended.returncode != 0
    assert ended.stdout == ""
    assert len(said) == 1
    assert str(folder.path / "half2.mrc") in said[0]
    assert not (folder.path / "out").exists()
