"""A network goes on in its own refinement only; of whatever else is found in the folder, the log says why not."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from support.refinement import FAST, Refinement, simulate
from support.worker import RealWorker

from cryobridge.wrappers.relion.demo import jobfiles

pytestmark = pytest.mark.slow
COLD, WARM = 6, 4
"""Steps of `FAST` for a network that starts anew and for one that goes on."""


@pytest.fixture(scope="module")
def simulated():
    return simulate()


@pytest.fixture(scope="module")
def worker():
    worker = RealWorker()
    worker.reply("ready")
    yield worker
    worker.end()


@dataclass
class Folder:
    """A refinement's folder, and the worker that answers its calls; keeps the session file as the hook would."""

    worker: RealWorker
    refinement: Refinement
    outputs: Path
    environment: dict = field(default_factory=lambda: dict(FAST))

    @property
    def session(self) -> str:
        return str(self.refinement.project / jobfiles.ROOT)

    def data_star(self, iteration: int) -> Path:
        """The particle file that the call of an iteration comes with."""
        self.refinement.write_call(iteration, 1)
        return self.refinement.project / f"{jobfiles.ROOT}_it{iteration - 1:03d}_data.star"

    def edit_particles(self, iteration: int, edit) -> None:
        """Change name and half-set of every particle."""
        path = self.data_star(iteration)
        lines = [line.split(" ") for line in path.read_text().split("\n")]
        for words in lines:
            filled = [place for place, word in enumerate(words) if word]
            if filled and "@" in words[filled[0]]:
                name, subset = filled[0], filled[3]
                words[name], words[subset] = edit(words[name], words[subset])
        path.write_text("\n".join(" ".join(words) for words in lines))

    def iterate(self, iteration: int, *, swapped: bool = False) -> dict:
        """One iteration, both halves; `swapped` hands half 1's sums over as half 2's."""
        made = self.refinement.simulated
        name = f"t{iteration}"
        for half in (1, 2):
            star = self.refinement.write_call(iteration, half)
            if swapped:
                star = jobfiles.write_call(
                    self.refinement.project, iteration, half, made.halves[2 - half], made.fsc, made.tau2[2 - half],
                    made.particles,
                )  # fmt: skip
            self.worker.send_half(
                f"{name}{half}", self.refinement.project, star, half, self.outputs, environment=self.environment
            )
            assert self.worker.reply("standard").message["due"]
        self.worker.progress.clear()
        self.worker.channel.send({"type": "correct", "task": name, "half1": f"{name}1", "half2": f"{name}2"})
        made = self.worker.reply("corrected").message
        shutil.move(self.outputs / "session.part", self.outputs / "session.safetensors")
        for half in (1, 2):
            self.worker.channel.send({"type": "forget", "task": f"{name}{half}"})
            self.worker.reply("forgotten")
        return made

    def said(self) -> str:
        """What RELION's log says of the network."""
        lines = [line for line in self.worker.progress if line.startswith("the network")]
        assert len(lines) == 1
        return lines[0]

    def maps(self, iteration: int) -> list[np.ndarray]:
        """Both corrected maps."""
        return [mrcfile.read(self.outputs / f"t{iteration}{half}_corrected.mrc") for half in (1, 2)]

    def forget(self) -> None:
        """The worker's memory goes, the folder stays: as with a new daemon."""
        self.worker.channel.send({"type": "release", "session": self.session})
        self.worker.reply("released")


@pytest.fixture
def new_folder(worker, simulated, tmp_path):
    def made(name="one", **environment) -> Folder:
        outputs = tmp_path / f"{name}_outputs"
        outputs.mkdir()
        refinement = Refinement.start(tmp_path / name, simulated, {})
        return Folder(worker, refinement, outputs, {**FAST, **environment})

    return made


def swap(name, subset):
    return name, str(3 - int(subset))


@pytest.fixture(params=["memory", "disk"])
def kept(request):
    """Where the network waits between two iterations."""

    def leave(folder):
        if request.param == "disk":
            folder.forget()
        return request.param

    return leave


def test_the_next_iteration_goes_on(new_folder, kept):
    folder = new_folder()
    assert folder.iterate(3)["metrics"]["warm_from"] == "none"
    assert folder.said() == "the network starts anew, because there is none of this refinement yet"
    source = kept(folder)
    found = folder.iterate(4)["metrics"]
    assert (found["warm_from"], found["steps"]) == (source, WARM)
    assert folder.said().startswith("the network goes on warm from iteration 3")


@pytest.mark.parametrize("mode", ["independent", "shared"])
def test_halves_that_changed_places_start_anew(new_folder, kept, mode):
    folder = new_folder(CRYOBRIDGE_MODE=mode)
    folder.iterate(3)
    kept(folder)
    folder.edit_particles(4, swap)
    found = folder.iterate(4, swapped=True)["metrics"]
    assert (found["warm_from"], found["steps"]) == ("none", COLD)
    assert folder.said() == (
        "the network starts anew, because the particles are divided into other half-sets than it learned from"
    )


def test_independent_halves_that_changed_places_see_nothing_of_each_others_network(new_folder):
    used, fresh = new_folder("used", CRYOBRIDGE_MODE="independent"), new_folder("fresh", CRYOBRIDGE_MODE="independent")
    used.iterate(3)
    for folder in (used, fresh):
        folder.edit_particles(4, swap)
        folder.iterate(4, swapped=True)
    # To the last bit what networks make that have never seen a particle before.
    for one, other in zip(used.maps(4), fresh.maps(4), strict=True):
        np.testing.assert_array_equal(one, other)
    used.iterate(5, swapped=False)
    assert "starts anew" in used.said()


def test_another_specimen_of_the_same_box_starts_anew(new_folder, kept):
    folder = new_folder()
    folder.iterate(3)
    kept(folder)
    folder.edit_particles(4, lambda name, subset: (name.replace("particles", "others"), subset))
    assert folder.iterate(4)["metrics"]["warm_from"] == "none"
    assert folder.said() == "the network starts anew, because it learned from other particles"


def test_another_start_of_the_same_particles_starts_anew(new_folder):
    folder = new_folder()
    folder.iterate(3)
    start = folder.refinement.project / f"{jobfiles.ROOT}_it000_optimiser.star"
    start.write_text(start.read_text().replace("data/reference.mrc", "data/other.mrc"))
    assert folder.iterate(4)["metrics"]["warm_from"] == "none"
    assert "another reference (data/reference.mrc)" in folder.said()


def test_a_continued_refinement_goes_on_whatever_the_order_of_its_particles(new_folder, kept):
    folder = new_folder()
    folder.iterate(6)
    source = kept(folder)
    # RELION is continued from iteration 3: its optimiser file has another command line, its rows another order.
    path = folder.data_star(4)
    lines = path.read_text().split("\n")
    rows = [place for place, line in enumerate(lines) if "@" in line]
    for place, line in zip(rows, [lines[place] for place in rows][::-1], strict=True):
        lines[place] = line
    path.write_text("\n".join(lines))
    optimiser = path.with_name(path.name.replace("data", "optimiser"))
    comment = optimiser.read_text().split("\n", 2)
    optimiser.write_text(f"{comment[0]}\n# --continue run_it003_optimiser.star --o run\n{comment[2]}")
    assert folder.iterate(4)["metrics"]["warm_from"] == source
    assert folder.said().startswith("the network goes on warm from iteration 6")


def test_a_refinement_whose_first_files_are_gone_goes_on(new_folder):
    folder = new_folder()
    folder.iterate(3)
    start = folder.refinement.project / f"{jobfiles.ROOT}_it000_optimiser.star"
    start.write_text("")
    assert folder.iterate(4)["metrics"]["warm_from"] == "memory"


def test_a_refinement_that_starts_again_in_its_old_folder_starts_anew(new_folder):
    folder = new_folder()
    folder.iterate(3)
    assert folder.iterate(1)["metrics"]["warm_from"] == "none"
    assert folder.said() == "the network starts anew, because this is the refinement's first iteration"


def test_a_first_iteration_that_is_not_corrected_ends_what_is_in_memory(new_folder):
    folder = new_folder()
    folder.iterate(3)
    (folder.outputs / "session.safetensors").unlink()  # as the hook does
    star = folder.refinement.write_call(1, 1)
    late = {**FAST, "CRYOBRIDGE_START_ITERATION": "2"}
    folder.worker.send_half("early", folder.refinement.project, star, 1, folder.outputs, environment=late)
    assert not folder.worker.reply("standard").message["due"]
    assert folder.iterate(4)["metrics"]["warm_from"] == "none"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_text(""), "no table that says which particle is in which half-set"),
        (lambda path: path.write_bytes(path.read_bytes()[:-200]), "cut off"),
        (lambda path: path.write_text(path.read_text().replace("RandomSubset", "Somewhere")), "no table"),
        (lambda path: path.write_bytes(b"\xff\0" * (1 << 20)), "no STAR file"),
    ],
)
def test_a_particle_file_that_does_not_tell_means_a_new_start(new_folder, damage, said):
    folder = new_folder()
    folder.iterate(3)
    damage(folder.data_star(4))
    assert folder.iterate(4)["metrics"]["warm_from"] == "none"
    assert said in folder.said()


def test_a_missing_particle_file_means_a_new_start_now_and_next_time(new_folder):
    folder = new_folder()
    folder.iterate(3)
    folder.worker.without = {"data"}
    try:
        assert folder.iterate(4)["metrics"]["warm_from"] == "none"
    finally:
        folder.worker.without = set()
    assert "particle file of the iteration before is missing" in folder.said()
    # What was learned then belongs to nobody that can be named.
    assert folder.iterate(5)["metrics"]["warm_from"] == "none"
    assert "not known which particles it learned from" in folder.said()
