"""Who is in which half-set: the same digest for the same division, and for nothing else."""

import os
import random

import pytest

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.relion import half_sets
from cryobridge.wrappers.relion.half_sets import read_half_sets

OPTICS = (
    "\n# version 30001\n\ndata_optics\n\nloop_ \n_rlnOpticsGroupName #1 \n_rlnOpticsGroup #2 \nopticsGroup1 1 \n \n\n"
)
PARTICLES = [
    (f"{number:06d}@Extract/job003/mic{number % 7:03d}.mrcs", 1 + number * 37 % 5 % 2) for number in range(400)
]


def table(rows, columns=("rlnImageName", "rlnMicrographName", "rlnRandomSubset", "rlnAngleRot"), quote=""):
    labels = "".join(f"_{name} #{number} \n" for number, name in enumerate(columns, 1))
    lines = []
    for name, subset in rows:
        cells = {"rlnImageName": f"{quote}{name}{quote}", "rlnRandomSubset": subset, "rlnTomoParticleName": name}
        lines.append(" ".join(str(cells.get(column, f"{random.random():12.6f}")) for column in columns) + " \n")
    return f"{OPTICS}# version 30001\n\ndata_particles\n\nloop_ \n{labels}{''.join(lines)} \n"


@pytest.fixture
def read(tmp_path):
    def reading(text):
        path = tmp_path / "run_it003_data.star"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        fd = os.open(path, os.O_RDONLY)
        steps = read_half_sets(fd, "run_it003_data.star")
        try:
            while True:
                next(steps)
        except StopIteration as end:
            assert os.lseek(fd, 0, os.SEEK_CUR) == 0
            return end.value
        finally:
            os.close(fd)

    return reading


def test_order_angles_and_other_columns_do_not_count(read):
    before = read(table(PARTICLES))
    shuffled = random.Random(1).sample(PARTICLES, len(PARTICLES))
    assert read(table(shuffled)) == before
    other_columns = ("rlnDefocusU", "rlnRandomSubset", "rlnAngleTilt", "rlnImageName")
    assert read(table(shuffled, other_columns)) == before
    assert sum(before.particles) == len(PARTICLES)


def test_halves_that_changed_places_are_another_division_of_the_same_particles(read):
    before, after = read(table(PARTICLES)), read(table([(name, 3 - subset) for name, subset in PARTICLES]))
    assert before.digest != after.digest
    assert before.names == after.names
    assert before.particles == after.particles[::-1]


def test_two_particles_that_change_places_are_seen(read):
    changed = dict(PARTICLES)
    one = next(name for name, subset in PARTICLES if subset == 1)
    other = next(name for name, subset in PARTICLES if subset == 2)
    changed[one], changed[other] = 2, 1
    before, after = read(table(PARTICLES)), read(table(list(changed.items())))
    assert before.particles == after.particles
    assert before.digest != after.digest


def test_other_particles_are_seen(read):
    others = [(name.replace("job003", "job004"), subset) for name, subset in PARTICLES]
    assert read(table(PARTICLES)).names != read(table(others)).names


def test_a_particle_that_stands_twice_counts_twice(read):
    assert read(table(PARTICLES)) != read(table([*PARTICLES, PARTICLES[0]]))
    assert read(table([*PARTICLES, PARTICLES[0], PARTICLES[0]])) != read(table(PARTICLES))


def test_quotes_carriage_returns_and_pieces_make_no_difference(read, monkeypatch):
    before = read(table(PARTICLES))
    assert read(table(PARTICLES, quote='"')) == before
    assert read(table(PARTICLES).replace("\n", "\r\n")) == before
    monkeypatch.setattr(half_sets, "_PIECE_BYTES", 37)
    assert read(table(PARTICLES)) == before


def test_a_name_with_a_blank_is_read_whole(read):
    named = [(f"my data/{number}.mrcs", 1 + number % 2) for number in range(10)]
    others = [(f"my data/{number + 1}.mrcs", 1 + number % 2) for number in range(10)]
    assert read(table(named, quote='"')).names != read(table(others, quote='"')).names


def test_subtomograms_go_by_their_own_names(read):
    columns = ("rlnTomoParticleName", "rlnRandomSubset")
    assert read(table(PARTICLES, columns)) == read(table(PARTICLES))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: "", "no table"),
        (lambda text: text.replace("_rlnRandomSubset", "_rlnSomethingElse"), "no table"),
        (lambda text: text.replace("_rlnImageName", "_rlnSomethingElse"), "no table"),
        (lambda text: text[: len(text) // 2].rstrip("\n"), "cut off"),
        (lambda text: text[: text.index("000200@") + 20], "cut off"),
        (lambda text: "\0" * (3 << 20), "no STAR file"),
        (lambda text: text.replace(" 2 ", " 0 "), "half-set '0'"),
        (lambda text: text.replace(" 2 ", " 1 "), "no table"),
        (lambda text: OPTICS + "data_particles\n\nloop_\n_rlnImageName\n_rlnRandomSubset\ndata_x\n", "no table"),
    ],
)
def test_a_damaged_file_is_refused_in_words(read, damage, said):
    with pytest.raises(InputInvalid, match=said):
        read(damage(table(PARTICLES)))


def test_a_file_that_is_too_large_is_not_begun(read, monkeypatch):
    monkeypatch.setattr(half_sets, "MAX_BYTES", 100)
    with pytest.raises(InputInvalid, match="too much"):
        read(table(PARTICLES))
