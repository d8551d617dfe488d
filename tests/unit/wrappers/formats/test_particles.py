"""Views are read from every layout of particle file, and what is damaged is refused with one sentence."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import re
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats.particles import read_star_angles, read_views
from cryobridge.wrappers.particles.rotations import euler_angles

STAR = """
data_optics

loop_
_rlnOpticsGroup #1
_rlnVoltage #2
1 300

data_particles

loop_
_rlnImageName #1
_rlnAngleRot #2
_rlnAngleTilt #3
_rlnAnglePsi #4
1@Müller/a.mrcs 10.5 20 -30
2@b.mrcs -170 90.25 0
"""


def relion_matrix(rot: float, tilt: float, psi: float) -> np.ndarray:
    """RELION's rotation matrix, as a product of three turns."""

    def about_z(angle: float) -> np.ndarray:
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])

    c, s = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    return about_z(psi) @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]) @ about_z(rot)


def cs_bytes(tmp_path: Path, pose: np.ndarray) -> bytes:
    table = np.zeros(len(pose), dtype=[("uid", "<u8"), ("alignments3D/pose", "<f4", (3,))])
    table["alignments3D/pose"] = pose
    np.save(tmp_path / "made.npy", table)
    return (tmp_path / "made.npy").read_bytes()


def test_a_star_file_is_read_whatever_its_compression(tmp_path: Path) -> None:
    expected = [[10.5, 20.0, -30.0], [-170.0, 90.25, 0.0]]
    for name, pack in (("a.star", bytes), ("b.star.gz", gzip.compress), ("c.dat", bz2.compress)):
        (tmp_path / name).write_bytes(pack(STAR.encode()))
        assert read_views(tmp_path / name).tolist() == expected


def test_matrices_give_back_the_angles_they_were_made_of() -> None:
    angles = np.random.default_rng(0).uniform((-180, 1, -180), (180, 179, 180), (50, 3))
    found = euler_angles(np.stack([relion_matrix(*row) for row in angles]))
    np.testing.assert_allclose(found, angles, atol=1e-9)


@pytest.mark.parametrize("angles", [(20.0, 0.0, 30.0), (20.0, 180.0, 30.0)])
def test_views_along_z_keep_their_matrix(angles: tuple[float, float, float]) -> None:
    matrix = relion_matrix(*angles)
    found = euler_angles(matrix[None])[0]
    assert found[0] == 0.0
    np.testing.assert_allclose(relion_matrix(*found), matrix, atol=1e-9)


def test_a_cs_pose_is_the_inverse_of_relions_matrix(tmp_path: Path) -> None:
    angles = np.random.default_rng(1).uniform((-180, 1, -180), (180, 179, 180), (20, 3))
    pose = Rotation.from_matrix([relion_matrix(*row).T for row in angles]).as_rotvec()
    (tmp_path / "p.cs").write_bytes(cs_bytes(tmp_path, pose))
    np.testing.assert_allclose(read_views(tmp_path / "p.cs"), angles, atol=1e-4)


def test_forty_thousand_particles_take_seconds(tmp_path: Path) -> None:
    rows = "".join(f"{i}@some/folder/of/micrographs.mrcs {i % 360} {i % 180} 0\n" for i in range(40_000))
    (tmp_path / "many.star").write_text(STAR.split("1@")[0] + rows)
    started = time.process_time()
    views = read_views(tmp_path / "many.star")
    assert views.shape == (40_000, 3)
    assert views[-1].tolist() == [39_999 % 360, 39_999 % 180, 0.0]
    assert time.process_time() - started < 5.0


BAD_STARS = {
    "psi is missing": (STAR.replace("_rlnAnglePsi #4\n", "").replace(" -30\n", "\n").replace("25 0\n", "25\n"), "Psi"),
    "no table": ("data_particles\n\nloop_\n_rlnVoltage #1\n300\n", "no table with rlnAngleRot"),
    "ragged": (STAR + "3@c.mrcs 1 2\n", "not a whole STAR file"),
    "cut in a line": (STAR[:-3], "cut off"),
    "nan": (STAR.replace("90.25", "nan"), "particle 2 of 2"),
    "text": (STAR.replace("90.25", "ninety"), "rlnAngleTilt"),
    "binary": (STAR + "\0\n", "neither"),
    "subtomograms": (STAR.replace("_rlnImageName", "_rlnTomoName"), "subtomograms"),
    "empty": ("", "cut off"),
}


@pytest.mark.parametrize("case", BAD_STARS)
def test_a_bad_star_file_is_refused(tmp_path: Path, case: str) -> None:
    text, words = BAD_STARS[case]
    path = tmp_path / "bad.star"
    path.write_text(text)
    with pytest.raises(InputInvalid, match=words) as caught:
        read_views(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_bad_cs_file_is_refused(tmp_path: Path) -> None:
    good = cs_bytes(tmp_path, np.zeros((5, 3)))
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "other.npy", np.zeros(3, dtype=[("uid", "<u8")]))
    bad = {
        "cut": (good[:-4], "announces 5 rows"),
        "longer": (good + b"x", "announces 5 rows"),
        "header": (good[:20], "header is damaged"),
        "nan": (cs_bytes(tmp_path, np.array([[0, 0, 0], [0, np.nan, 0]])), "particle 2 of 2"),
        "none": (cs_bytes(tmp_path, np.zeros((0, 3))), "no particles"),
        "pickle": ((tmp_path / "objects.npy").read_bytes(), "no table of particles"),
        "no pose": ((tmp_path / "other.npy").read_bytes(), "alignments3D/pose"),
        "stream": (b"\x95CSDAT\0\0\0", "compressed .cs"),
        "gzip cut": (gzip.compress(good)[:-9], "cut off or damaged"),
    }
    for name, (raw, words) in bad.items():
        path = tmp_path / f"{name}.cs"
        path.write_bytes(raw)
        with pytest.raises(InputInvalid, match=words):
            read_views(path)
    with pytest.raises(InputInvalid, match="cannot be read"):
        read_views(tmp_path / "absent.cs")
    with pytest.raises(InputInvalid, match="cannot be read"):
        read_views(tmp_path)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("FinalRefinement-OriginalParticles-PfCRT.star", None),
        ("aspire_17_relion30.star", 17),
        ("aspire_17_relion31.star", 17),
        ("relion31.6opticsgroups.star.gz", None),
        ("relion31.v2.star", None),
        ("relion5.star", None),
        ("cryosparc_P12_J24_001_particles.cs.gz", 2019),
    ],
)
def test_real_particle_files_are_read(shared: Path, name: str, count: int | None) -> None:
    path = shared / "data" / "particles" / name
    if not path.is_file():
        pytest.skip(f"data/particles/{name} is not in the shared data folder")
    views = read_views(path)
    assert count is None or len(views) == count
    assert views.shape[1] == 3
    assert bool((np.abs(views) <= 360).all())
    assert len(views) == 1 or bool(views.std(axis=0).all())


@pytest.mark.shared
def test_cryosparc_sample_has_the_angles_its_makers_state(shared: Path) -> None:
    sample = shared / "cryosparc-standin" / "sample" / "CS-bridge-demo"
    if not sample.is_dir():
        pytest.skip("cryosparc-standin/sample is not in the shared data folder")
    truth = json.loads((sample / "truth.json").read_text())
    expected = np.stack([truth[f"rlnAngle{name}"] for name in ("Rot", "Tilt", "Psi")], axis=1)
    np.testing.assert_allclose(read_views(sample / "J1" / "J1_003_particles.cs"), expected, atol=1e-3)


def star(rows: list[str], *columns: str) -> str:
    names = "".join(f"_{name}\n" for name in columns)
    return f"data_particles\n\nloop_\n{names}" + "\n".join(rows) + "\n"


ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
VIEWS = [(f"{10 * i}", f"{5 * i + 1}", f"{i}") for i in range(30)]


@pytest.mark.parametrize("ending", ["", "\n", " \n\n"])
def test_the_last_row_needs_no_newline(tmp_path: Path, ending: str) -> None:
    (tmp_path / "p.star").write_text(STAR.rstrip() + ending)
    assert read_views(tmp_path / "p.star").tolist() == [[10.5, 20.0, -30.0], [-170.0, 90.25, 0.0]]


@pytest.mark.parametrize("name", ["data_1.mrc", "_1.mrc", "#1.mrc", "loop_", "'a b'"])
@pytest.mark.parametrize("first", [True, False])
def test_micrographs_may_be_called_anything(tmp_path: Path, name: str, first: bool) -> None:
    columns = ("rlnMicrographName", *ANGLES) if first else (*ANGLES, "rlnMicrographName")
    rows = [" ".join((name, *view) if first else (*view, name)) for view in VIEWS]
    (tmp_path / "p.star").write_text(star(rows, *columns))
    assert read_views(tmp_path / "p.star").tolist() == [[float(angle) for angle in view] for view in VIEWS]


@pytest.mark.parametrize(
    "column", ["rlnTomoName", "rlnTomoVisibleFrames", "rlnCtfImage", "rlnCoordinateZ", "rlnCenteredCoordinateZAngst"]
)
def test_columns_of_subtomograms_are_known(tmp_path: Path, column: str) -> None:
    (tmp_path / "p.star").write_text(star([" ".join((*view, "1")) for view in VIEWS], *ANGLES, column))
    with pytest.raises(InputInvalid, match=rf"holds subtomograms \(column '{column}'\)"):
        read_views(tmp_path / "p.star")


def test_subtomograms_are_known_by_their_tilt_series_and_their_optics(tmp_path: Path) -> None:
    rows = [" ".join((*view, "TS_01.tomostar")) for view in VIEWS]
    (tmp_path / "p.star").write_text(star(rows, *ANGLES, "rlnMicrographName"))
    with pytest.raises(InputInvalid, match=r"micrograph 'TS_01\.tomostar'"):
        read_views(tmp_path / "p.star")
    optics = "data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnImageDimensionality\n1 2\n2 3\n\n"
    (tmp_path / "p.star").write_text(optics + star([" ".join(view) for view in VIEWS], *ANGLES))
    with pytest.raises(InputInvalid, match="rlnImageDimensionality 3"):
        read_views(tmp_path / "p.star")
    (tmp_path / "p.star").write_text(optics.replace("2 3", "2 2") + star([" ".join(view) for view in VIEWS], *ANGLES))
    assert len(read_views(tmp_path / "p.star")) == 30


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([f"0 0 {i}" for i in range(30)], "one and the same view"),
        ([f"{i} 0 0" for i in range(30)], "one and the same view"),
        ([f"{i} {180 * (i % 2)} 0" for i in range(30)], "one and the same view"),
        ([f"12 90 {i}" for i in range(30)], "one and the same view"),
        (["-999 -999 -999"] * 30, "all 30 particles have angles of -999"),
        (["-999 -999 -999", *(" ".join(view) for view in VIEWS)], "1 of 31 particles have angles of -999"),
        ([*["0 0 0"] * 10, *(" ".join(view) for view in VIEWS)], "10 of 40 particles have angles of exactly 0"),
    ],
)
def test_particles_that_were_never_aligned_are_refused(tmp_path: Path, rows: list[str], words: str) -> None:
    (tmp_path / "p.star").write_text(star(rows, *ANGLES))
    with pytest.raises(InputInvalid, match=rf"{words}.*not aligned in 3D"):
        read_views(tmp_path / "p.star")


def test_a_cs_of_a_2d_classification_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", np.zeros(5, dtype=[("uid", "<u8"), ("alignments2D/pose", "<f4")]))
    with pytest.raises(InputInvalid, match="angles of a 2D classification only"):
        read_views(tmp_path / "p.npy")
    (tmp_path / "p.cs").write_bytes(cs_bytes(tmp_path, np.zeros((5, 3))))
    with pytest.raises(InputInvalid, match="not aligned in 3D"):
        read_views(tmp_path / "p.cs")


@pytest.mark.parametrize(("column", "program"), [("cisTEMAnglePsi", "cisTEM"), ("phi", "STOPGAP")])
def test_star_files_of_other_programs_are_named(tmp_path: Path, column: str, program: str) -> None:
    (tmp_path / "p.star").write_text(star(["1 2"], column, "other"))
    with pytest.raises(InputInvalid, match=f"is a STAR file of {program}"):
        read_views(tmp_path / "p.star")


@pytest.mark.parametrize(
    ("value", "shown"), [("1e308", "1e+308"), ("-inf", "-inf"), ("nan", "nan"), ("3601", "3601"), ("1e999", "inf")]
)
def test_an_angle_that_cannot_be_is_refused_with_its_row_and_column(tmp_path: Path, value: str, shown: str) -> None:
    (tmp_path / "p.star").write_text(STAR.replace("90.25", value))
    with pytest.raises(InputInvalid, match=rf"'rlnAngleTilt' of particle 2 of 2 is {re.escape(shown)},"):
        read_views(tmp_path / "p.star")


@pytest.mark.parametrize("value", ["1_0", "0x10", "ninety", "9" * 4000 + "x"])
def test_what_is_no_number_is_refused_with_its_line(tmp_path: Path, value: str) -> None:
    (tmp_path / "p.star").write_text(STAR.replace("90.25", value))
    with pytest.raises(InputInvalid, match="'rlnAngleTilt' holds something that is not a number in line 17") as caught:
        read_views(tmp_path / "p.star")
    assert len(str(caught.value)) < 400


def test_a_rotation_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.cs").write_bytes(cs_bytes(tmp_path, np.array([[0, 0, 1], [0, 1e30, 0]])))
    with pytest.raises(InputInvalid, match=r"'alignments3D/pose' of particle 2 of 2 is 1e\+30"):
        read_views(tmp_path / "p.cs")


MEASURE = """
import json, resource, sys, time
from pathlib import Path
from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats.particles import read_views
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, started = peak(), time.process_time()
try:
    said = len(read_views(Path(sys.argv[1])))
except InputInvalid as refused:
    said = str(refused)
print(json.dumps([said, time.process_time() - started, peak() - before]))
"""


def packed_star(pack: str, piece: bytes, times: int) -> bytes:
    packer = bz2.BZ2Compressor() if pack == "bz2" else zlib.compressobj(wbits=31)
    head = STAR.split("1@")[0].encode()
    return b"".join([packer.compress(head), *(packer.compress(piece) for _ in range(times)), packer.flush()])


@pytest.mark.parametrize(("pack", "piece"), [("bz2", b"1"), ("gz", b"1@a 2 3 4\n")])
def test_a_bomb_takes_neither_memory_nor_time(tmp_path: Path, pack: str, piece: bytes) -> None:
    (tmp_path / "bomb").write_bytes(packed_star(pack, piece * ((1 << 20) // len(piece)), 24))
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path / "bomb"], capture_output=True, text=True, timeout=100, check=True
    )
    said, seconds, more_mib = json.loads(run.stdout)
    assert said.startswith(f"{tmp_path / 'bomb'}: ")
    assert seconds < 20
    assert more_mib < 150


def test_a_million_bytes_without_a_line_end_are_refused(tmp_path: Path) -> None:
    (tmp_path / "p.star").write_text(STAR.replace("90.25", "1" * 1_000_000))
    with pytest.raises(InputInvalid, match="has a line of more than 65536 bytes"):
        read_views(tmp_path / "p.star")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.star")
    with pytest.raises(InputInvalid, match="cannot be read: it is no file"):
        read_views(tmp_path / "p.star")


def test_names_in_any_encoding_are_no_ends_of_words(tmp_path: Path) -> None:
    """The last bytes of these letters in UTF-8 are a blank and a line's end in other encodings."""
    (tmp_path / "p.star").write_text(STAR.replace("Müller", "àÅ"))
    assert len(read_views(tmp_path / "p.star")) == 2


@pytest.mark.parametrize(
    "descr",
    [
        "[]",
        "[('alignments3D/pose', '<f4', (3,)), ('x', '|S0')",
        "[('alignments3D/pose', '|S0', (3,))]",
        "[('alignments3D/pose', '<f4', (3, 0))]",
        "[('alignments3D/pose', '<f4', (1000000000, 1000000000))]",
        "[('x', '|S999999'), ('alignments3D/pose', '<f4', (3,))]",
        "[('alignments3D/pose', '<f4', (3,)), ('alignments3D/pose', '<f4', (3,))]",
        "[('a', 'f4,(100000000)f4')]",
        "(" * 5000,
        "-" * 5000 + "1",
        "[" * 5000 + "]" * 5000,
        "'" * 5001,
        "9" * 20000,
        "__import__('os')",
        "'\\\\x",
    ],
)
def test_a_senseless_cs_header_is_refused(tmp_path: Path, descr: str) -> None:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (0,), }}\n".encode()
    (tmp_path / "p.cs").write_bytes(b"\x93NUMPY\x02\x00" + len(header).to_bytes(4, "little") + header)
    with pytest.raises(InputInvalid) as caught:
        read_views(tmp_path / "p.cs")
    assert str(caught.value).startswith(f"{tmp_path / 'p.cs'}: ")


def test_a_long_cs_header_does_not_hang(tmp_path: Path) -> None:
    """Read in a third of a second; what looks back over all of it at every field would take minutes."""
    header = b"{'descr': [" + b"('alignments3D/pose', '<f4', (3,)), " * 25_000
    (tmp_path / "p.cs").write_bytes(b"\x93NUMPY\x02\x00" + len(header).to_bytes(4, "little") + header)
    started = time.process_time()
    with pytest.raises(InputInvalid, match="header is damaged"):
        read_views(tmp_path / "p.cs")
    assert time.process_time() - started < 10


def test_relions_own_file_is_read_through_a_descriptor_that_stays_where_it_is(tmp_path: Path) -> None:
    """Aligned or not, as it is in RELION's first iterations."""
    rows = [f"{i} 0 0" for i in range(3)]
    (tmp_path / "p.star").write_text(star(rows, *ANGLES))
    (tmp_path / "p.star.gz").write_bytes(gzip.compress(star(rows, *ANGLES).encode()))
    descriptor = os.open(tmp_path / "p.star", os.O_RDONLY)
    packed = os.open(tmp_path / "p.star.gz", os.O_RDONLY)
    try:
        assert read_star_angles(descriptor, "RELION's file").tolist() == [[i, 0, 0] for i in range(3)]
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == 0
        with pytest.raises(InputInvalid, match=r"^RELION's file: is packed"):
            read_star_angles(packed, "RELION's file")
    finally:
        os.close(descriptor)
        os.close(packed)
