"""Every kind on particles and latents with every kind of bad file: one sentence that names it, and no result."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import bad_particles as bad
from support import bad_runs
from support.bad_particles import BOX, COUNT, SIZE_A, STACK, TABLE, Spoil
from support.bad_runs import RUN
from support.latent_runs import PlainFolder

from cryobridge.bridge.worker import run
from cryobridge.bridge.worker.heterogeneity.run_folder import write_run
from cryobridge.core.latent import FilmModel, FilmNetwork, FilmShape, LinearModel, VolumeModel
from cryobridge.core.subspace import BandGrid
from cryobridge.schemas.job import user_kinds
from cryobridge.wrappers.particles.reading import read_particles

pytestmark = [pytest.mark.acceptance]

RADIUS, ZDIM = 5.0, 2
OF_IMAGES: dict[str, dict[str, Any]] = {
    "particles.downsample": {"box": 8},
    "particles.backproject": {},
    "vae.linear": {"modes": 2, "iterations": 1},
    "vae.train": {"epochs": 1, "controls": False},
    "vae.encode": {},
}
OF_RUNS: dict[str, dict[str, Any]] = {
    "vae.encode": {},
    "vae.volumes": {"count": 2},
    "vae.analyze": {"clusters": 2},
    "vae.traverse": {"count": 2},
    "vae.landscape": {"volumes": 4, "states": 2},
    "vae.select": {"where": "z1 > 0"},
}
"""Options of kinds whose defaults are not for particles as few and small as these."""
ANY_TABLE: tuple[Spoil, ...] = (
    bad.table_empty,
    bad.table_without_rows,
    bad.table_cut_off,
    bad.table_of_bytes,
    bad.pixel_size_infinite,
    bad.pixel_size_negative,
    bad.optics_group_absent,
    bad.optics_group_a_word,
    bad.image_number_zero,
    bad.image_number_huge,
    bad.image_without_number,
    bad.image_out_of_the_way,
    bad.image_a_device,
    bad.no_stack,
    bad.stack_is_a_folder,
    bad.stack_is_cut_off,
    bad.stack_has_only_a_header,
    bad.stack_is_text,
    bad.stack_is_short,
    bad.stack_says_absurd_sizes,
    bad.images_not_square,
    bad.boxes_mixed,
    bad.image_of_no_number,
    bad.image_infinite,
)
POSED_TABLE: tuple[Spoil, ...] = (
    bad.voltage_zero,
    bad.voltage_of_no_number,
    bad.voltage_a_word,
    bad.angle_of_no_number,
    bad.origin_infinite,
    bad.origin_far_outside,
    bad.defocus_of_no_number,
    bad.defocus_absurd,
)
"""Of kinds that go by poses and CTF."""
EMPTY_IMAGES: tuple[Spoil, ...] = (bad.images_of_zeros, bad.images_constant, bad.images_far_too_large)
"""Nothing can be learned of them."""
ANY_RUN: tuple[Spoil, ...] = (
    bad_runs.run_missing,
    bad_runs.run_empty,
    bad_runs.run_is_a_file,
    bad_runs.run_of_another_kind,
    bad_runs.run_without_latents,
    bad_runs.run_without_model,
    bad_runs.model_cut_off,
    bad_runs.model_empty,
    bad_runs.model_a_pickle,
    bad_runs.model_a_link_to_a_device,
    bad_runs.model_without_tensors,
    bad_runs.model_described_by_a_list,
    bad_runs.model_of_no_known_name,
    bad_runs.model_of_absurd_sizes,
    bad_runs.model_of_sizes_below_zero,
    bad_runs.model_of_sizes_without_end,
    bad_runs.model_of_words_for_sizes,
    bad_runs.model_of_no_numbers,
    bad_runs.latents_of_fewer_particles,
    bad_runs.latents_of_no_number,
    bad_runs.latents_wider,
    bad_runs.latents_of_words,
    bad_runs.latents_of_objects,
    bad_runs.latents_of_none,
    bad_runs.variances_of_other_shape,
    bad_runs.particles_of_the_run_damaged,
    bad_runs.particles_of_the_run_without_columns,
)
CASES = [
    *((kind, spoil) for kind in OF_IMAGES for spoil in ANY_TABLE),
    *((kind, spoil) for kind in list(OF_IMAGES)[1:] for spoil in POSED_TABLE),
    *((kind, spoil) for kind in ("vae.linear", "vae.train") for spoil in EMPTY_IMAGES),
    *((kind, spoil) for kind in OF_RUNS for spoil in ANY_RUN),
]
STARTED = {"out", "out/job.yaml", "out/run.log"}
"""Left by a job that reads its images while it writes: a folder that says what failed, and takes another attempt."""


def linear_model() -> LinearModel:
    grid = BandGrid(BOX, RADIUS)
    table = 100 * torch.randn(len(grid), 2 * ZDIM, generator=torch.Generator().manual_seed(0))
    ball = torch.exp(
        -torch.linalg.norm(torch.stack(torch.meshgrid(*[torch.arange(BOX) - BOX / 2] * 3, indexing="ij")), dim=0) / 2
    )
    return LinearModel(ball, table, torch.ones(ZDIM), torch.ones(BOX // 2), RADIUS, SIZE_A)


def film_model() -> FilmModel:
    shape = FilmShape(ZDIM, ZDIM, BOX, RADIUS, features=8, width=8, layers=1, encoder_width=8)
    return FilmModel(FilmNetwork.new(shape, torch.rand(8, 3), 1.0, 0), linear_model())


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Particles, and a finished run of each model."""
    folder = tmp_path_factory.mktemp("good")
    bad.write_good_particles(folder)
    particles = read_particles(folder / TABLE)
    latents = np.random.default_rng(0).normal(size=(COUNT, ZDIM)).astype(np.float32)
    models: dict[str, VolumeModel] = {RUN: linear_model(), "film": film_model()}
    for name, model in models.items():
        (folder / name).mkdir()
        write_run(PlainFolder(folder / name), model, latents, None, particles)  # type: ignore[arg-type]
    return folder


@dataclass
class Refused:
    """What a job that was run left."""

    code: int
    said: list[str]
    changed: set[str]


class Attempt:
    """A copy of the good folder, to be spoilt, and jobs in it."""

    def __init__(self, path: Path, good: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.path, self._capture = path, capture
        for name in (TABLE, STACK):
            shutil.copy(good / name, path / name)
        shutil.copytree(good / RUN, path / RUN)

    def run(
        self, kind: str, options: Mapping[str, Any], inputs: Mapping[str, str] | None = None, output: str = "out"
    ) -> Refused:
        """Run a job file as `cryobridge run` does, in this process."""
        known = {"particles": TABLE} if kind in OF_IMAGES else {}
        known |= {"run": RUN} if kind in OF_RUNS else {}
        spec = {
            "schema": "cryobridge/job/1",
            "kind": kind,
            "inputs": {**known, **(inputs or {})},
            "output": output,
            "options": dict(options),
            "run": {"devices": "cpu"},
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
        changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        return Refused(code, self._capture.readouterr().err.splitlines(), changed)

    def _everything(self) -> dict[str, bytes]:
        found = {}
        for path in self.path.rglob("*"):
            is_file = path.is_file() and not path.is_symlink()
            found[str(path.relative_to(self.path))] = path.read_bytes() if is_file else b""
        return found


@pytest.fixture
def attempt(tmp_path: Path, good: Path, capsys: pytest.CaptureFixture[str]) -> Attempt:
    return Attempt(tmp_path, good, capsys)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def refused(ended: Refused, named: str) -> None:
    """Fail unless the job ended with a sentence about a file or an option, and left no result."""
    assert ended.code != 0, ended.said
    assert named in ended.said[-1], ended.said
    assert not [line for line in ended.said[:-1] if "Error" in line or "Traceback" in line], ended.said
    assert ended.changed <= STARTED, ended.changed


@pytest.mark.parametrize(("kind", "spoil"), CASES, ids=lambda one: getattr(one, "__name__", one))
def test_bad_file_is_one_sentence_and_no_result(attempt: Attempt, kind: str, spoil: Spoil) -> None:
    spoil(attempt.path)
    elsewhere = {bad.image_a_device: "/dev/zero", bad.image_out_of_the_way: "etc/passwd"}
    refused(attempt.run(kind, {**OF_IMAGES, **OF_RUNS}[kind]), elsewhere.get(spoil, str(attempt.path)))


@pytest.mark.parametrize(
    "spoil",
    [one for one in ANY_RUN if one.__name__.startswith("model")],
    ids=lambda one: one.__name__,
)
def test_bad_network_is_one_sentence_and_no_result(attempt: Attempt, good: Path, spoil: Spoil) -> None:
    shutil.rmtree(attempt.path / RUN)
    shutil.copytree(good / "film", attempt.path / RUN)
    spoil(attempt.path)
    refused(attempt.run("vae.volumes", OF_RUNS["vae.volumes"]), str(attempt.path))


@pytest.mark.parametrize("kind", OF_RUNS)
def test_result_is_never_written_into_the_run_that_is_read(attempt: Attempt, kind: str) -> None:
    ended = attempt.run(kind, OF_RUNS[kind], output=RUN)
    refused(ended, str(attempt.path / RUN))
    assert ended.changed == set()


def as_text(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


def as_array(values: Any) -> Callable[[Path], None]:
    return lambda path: np.save(path, values)


SELECTIONS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "empty": ("s.txt", as_text(b"")),
    "beyond the last": ("s.txt", as_text(b"0\n400\n")),
    "below zero": ("s.txt", as_text(b"0\n-3\n")),
    "words": ("s.txt", as_text(b"a\nb\n")),
    "twice": ("s.txt", as_text(b"0\n1\n1\n2\n3\n")),
    "fractions": ("s.npy", as_array(np.array([0.5, 1.5]))),
    "objects": ("s.npy", as_array(np.array([{}], dtype=object))),
    "a table": ("s.npy", as_array(np.zeros((3, 3), int))),
    "hostile": ("s.pkl", as_text(bad_runs.hostile_pickle())),
}


@pytest.mark.parametrize("name", SELECTIONS)
@pytest.mark.parametrize("kind", OF_IMAGES)
def test_bad_selection(attempt: Attempt, monkeypatch: pytest.MonkeyPatch, kind: str, name: str) -> None:
    monkeypatch.chdir(attempt.path)
    file, write = SELECTIONS[name]
    write(attempt.path / file)
    refused(attempt.run(kind, OF_IMAGES[kind], {"selection": file}), str(attempt.path / file))


def test_latents_far_beyond_all_particles(attempt: Attempt) -> None:
    """Finite in the file, and no volume is."""
    np.save(attempt.path / "z.npy", np.full((2, ZDIM), 1e38))
    refused(attempt.run("vae.volumes", {}, {"z_file": "z.npy"}), "not finite")


def test_nothing_here_is_about_kinds_that_are_not_there() -> None:
    assert {*OF_IMAGES, *OF_RUNS} <= set(user_kinds())
