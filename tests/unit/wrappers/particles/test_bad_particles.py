"""Particles that cannot be right: each in one sentence that names the file, and none of them waited for."""

from __future__ import annotations

import gzip
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.small_stacks import BOX, COUNT, Truth, cs_columns, numbered_images, star31, star_table, write_stack

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats.array_file import arrays_bytes
from cryobridge.wrappers.formats.cs_table import write_table
from cryobridge.wrappers.formats.pickled_arrays import pickled
from cryobridge.wrappers.particles.image_reader import read_images
from cryobridge.wrappers.particles.reading import read_particles
from cryobridge.wrappers.particles.set_arrays import arrays_of

TRUTH = Truth()
NAMES = [f"{row + 1}@a.mrcs" for row in range(COUNT)]
Make = Callable[[Path], dict[str, Path]]


def _stack(folder: Path) -> None:
    write_stack(folder / "a.mrcs", numbered_images())


def _star(text: Callable[[], str] | str, *, stack: bool = True) -> Make:
    def make(folder: Path) -> dict[str, Path]:
        if stack:
            _stack(folder)
        (folder / "a.star").write_text(text if isinstance(text, str) else text())
        return {"particles": folder / "a.star"}

    return make


def _with(column: str, row: int, value: object) -> Make:
    """One value of the particles replaced."""

    def text() -> str:
        values: list[object] = {
            "rlnImageName": list(NAMES),
            "rlnOpticsGroup": (TRUTH.group + 1).tolist(),
        }.get(column, ["1.0"] * COUNT)
        values[row] = value
        if column == "rlnImageName":
            return star31(TRUTH, [str(one) for one in values])
        return star31(TRUTH, NAMES, **{column: values})

    return _star(text)


def _cs(**changed: Any) -> Make:
    def make(folder: Path) -> dict[str, Path]:
        _stack(folder)
        columns = cs_columns(TRUTH, ["a.mrcs"] * COUNT, range(COUNT)) | {
            name.replace("__", "/"): values for name, values in changed.items()
        }
        write_table(folder / "a.cs", {name: values for name, values in columns.items() if values is not None})
        return {"particles": folder / "a.cs"}

    return make


def _beside(key: str, name: str, data: bytes) -> Make:
    """A good table, and something beside it."""

    def make(folder: Path) -> dict[str, Path]:
        (folder / name).write_bytes(data)
        return _star(star31(TRUTH, NAMES))(folder) | {key: folder / name}

    return make


def _bare(name: str, **stack: Any) -> Make:
    def make(folder: Path) -> dict[str, Path]:
        write_stack(folder / name, stack.pop("images", numbered_images()), **stack)
        return {"particles": folder / name}

    return make


def _raw(name: str, data: bytes) -> Make:
    def make(folder: Path) -> dict[str, Path]:
        (folder / name).write_bytes(data)
        return {"particles": folder / name}

    return make


def _cut_stack(folder: Path) -> dict[str, Path]:
    made = _star(star31(TRUTH, NAMES))(folder)
    (folder / "a.mrcs").write_bytes((folder / "a.mrcs").read_bytes()[:-100])
    return made


def _two_boxes(folder: Path) -> dict[str, Path]:
    write_stack(folder / "b.mrcs", numbered_images(COUNT, BOX + 2))
    (folder / "a.txt").write_text("a.mrcs\nb.mrcs\n")
    _stack(folder)
    return {"particles": folder / "a.txt"}


def _unsaid_pixels(folder: Path) -> dict[str, Path]:
    write_stack(folder / "a.mrcs", numbered_images(), size_A=0)
    (folder / "a.star").write_text(star_table({"rlnImageName": ["1@a.mrcs"]}))
    return {"particles": folder / "a.star"}


def _complex_stack(folder: Path) -> dict[str, Path]:
    raw = bytearray(write_stack(folder / "a.mrcs", numbered_images()).read_bytes())
    raw[12] = 4
    (folder / "a.mrcs").write_bytes(raw)
    return {"particles": folder / "a.mrcs"}


def _packed_stack(folder: Path) -> dict[str, Path]:
    raw = write_stack(folder / "a.mrcs", numbered_images()).read_bytes()
    (folder / "a.mrcs.gz").write_bytes(gzip.compress(raw))
    return {"particles": folder / "a.mrcs.gz"}


def _folder(folder: Path) -> dict[str, Path]:
    (folder / "a.star").mkdir()
    return {"particles": folder / "a.star"}


def _fifo(name: str) -> Make:
    def make(folder: Path) -> dict[str, Path]:
        made = _star(star31(TRUTH, NAMES), stack=name != "a.mrcs")(folder)
        if name == "a.star":
            (folder / name).unlink()
        os.mkfifo(folder / name)
        return made if name in ("a.star", "a.mrcs") else made | {"poses": folder / name}

    return make


def _objects(folder: Path) -> dict[str, Path]:
    np.save(folder / "a.npy", np.array([("a", {})], dtype=[("blob/path", "S4"), ("x", "O")]), allow_pickle=True)
    (folder / "a.npy").rename(folder / "a.cs")
    return {"particles": folder / "a.cs"}


def _poses(rotations: np.ndarray | None = None, shifts: np.ndarray | None = None, *more: np.ndarray) -> Make:
    parts = (
        TRUTH.matrices() if rotations is None else rotations,
        np.zeros((COUNT, 2)) if shifts is None else shifts,
        *more,
    )
    return _beside("poses", "pose.pkl", pickled(parts))


def _damaged_set(name: str, values: np.ndarray) -> Make:
    """Our own file of poses, with one array replaced."""

    def make(folder: Path) -> dict[str, Path]:
        made = _star(star31(TRUTH, NAMES))(folder)
        arrays = arrays_of(read_particles(made["particles"])) | {name: values}
        (folder / "poses.npz").write_bytes(arrays_bytes(arrays))
        return made | {"poses": folder / "poses.npz"}

    return make


def _table_of_ctf(**changed: float) -> np.ndarray:
    row = {"box": BOX, "size": 2.5, "u": 1e4, "v": 1e4, "angle": 0, "kv": 300, "cs": 2.7, "w": 0.1, "phase": 0}
    table = np.tile(np.array([*row.values()], np.float32), (COUNT, 1))
    for name, value in changed.items():
        table[3, [*row].index(name)] = value
    return table


def _ctf(table: np.ndarray) -> Make:
    return _beside("ctf", "ctf.pkl", pickled(table))


def _selection(values: object, name: str = "ind.pkl") -> Make:
    return _beside("selection", name, pickled(values) if name.endswith(".pkl") else str(values).encode())


class _Runs:
    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)


BAD: dict[str, tuple[Make, str]] = {
    "missing stack": (_star(star31(TRUTH, NAMES), stack=False), r"names the stack a.mrcs, which is not there"),
    "index 0": (_with("rlnImageName", 2, "0@a.mrcs"), r"'0@a.mrcs' in row 3 is no image of a stack"),
    "index beyond the end": (_with("rlnImageName", 2, "13@a.mrcs"), r"holds 12 images, and .* names number 13"),
    "index negative": (_with("rlnImageName", 2, "-1@a.mrcs"), r"is no image of a stack"),
    "no number of an image": (_with("rlnImageName", 2, "a.mrcs"), r"is no image of a stack"),
    "truncated stack": (_cut_stack, r"a.mrcs: holds .* its header announces"),
    "mixed boxes in a list": (_two_boxes, r"holds images of 16 pixels and .*b.mrcs of 18"),
    "mixed boxes in optics groups": (
        _star(lambda: star31(TRUTH, NAMES).replace(f" {BOX}\nb", f" {BOX + 2}\nb")),
        r"differ in their box, 18 pixels in 'a' and 16 in 'b'",
    ),
    "another box than the table says": (_star(lambda: star31(TRUTH, NAMES, box=32)), r"of 16 pixels, and .* says 32"),
    "optics group absent": (_with("rlnOpticsGroup", 5, 7), r"optics group 7, which its optics table does not have"),
    "zero voltage": (_star(lambda: star31(TRUTH, NAMES).replace(" 300 ", " 0 ")), r"is 0 kV"),
    "no number": (_with("rlnDefocusU", 1, "nan"), r"'rlnDefocusU' in row 2 is not finite"),
    "angle unset": (_with("rlnAngleRot", 4, -999), r"'rlnAngleRot' in row 5 is -999"),
    "shift out of the image": (_with("rlnOriginXAngst", 4, 5000), r"shifts the particle out of its image"),
    "ragged row": (_star(lambda: star31(TRUTH, NAMES).rstrip() + " 5\n"), r"a.star: .*line"),
    "empty table": (_star("\ndata_particles\n\nloop_\n_rlnImageName #1\n\n"), r"has no table of particles"),
    "empty file": (_raw("a.star", b""), r"is empty"),
    "no pixel size": (_unsaid_pixels, r"does not say the pixel size"),
    "cisTEM": (
        _star(star_table({"cisTEMPositionInStack": [1], "cisTEMAnglePsi": [1.0]})),
        r"is a STAR file of cisTEM; .*columns found: cisTEMPositionInStack, cisTEMAnglePsi",
    ),
    "another table": (_star(star_table({"rlnMicrographName": ["a.mrc"]})), r"columns found: rlnMicrographName"),
    "subtomograms": (
        _star(star_table({"rlnImageName": ["1@a.mrcs"], "rlnTomoName": ["TS_1"]})),
        r"holds subtomograms .*rlnTomoName",
    ),
    "premultiplied": (_with("rlnCtfDataAreCtfPremultiplied", 0, 1), r"multiplied by their CTF already"),
    "a volume": (_bare("a.mrc", images=np.zeros((BOX,) * 3)), r"is a volume \(16 x 16 x 16\)"),
    "odd box": (_bare("a.mrcs", images=numbered_images(4, 15)), r"15 x 15 pixels, an odd number"),
    "not square": (_bare("a.mrcs", images=np.zeros((3, 8, 10))), r"10 x 8 pixels, which are not square"),
    "mode of complex numbers": (_complex_stack, r"a.mrcs: MRC mode 4 is not read"),
    "packed stack": (_packed_stack, r"is packed"),
    "a picture for a stack": (_raw("a.mrcs", b"\x89PNG" + bytes(2000)), r"is a PNG picture"),
    "empty list": (_raw("a.txt", b"\n\n"), r"names no stack"),
    "a list of nothing": (_raw("a.txt", b"b.mrcs\n"), r"names the stack b.mrcs, which is not there"),
    "folder": (_folder, r"a.star: cannot be read"),
    "pipe for a table": (_fifo("a.star"), r"a.star: cannot be read"),
    "pipe for a stack": (_fifo("a.mrcs"), r"a.mrcs: cannot be read"),
    "pipe for poses": (_fifo("pose.pkl"), r"pose.pkl: cannot be read"),
    ".cs of objects": (_objects, r"a.cs: "),
    ".cs without images": (_cs(blob__path=None), r"has no images"),
    ".cs index beyond the end": (_cs(blob__idx=np.full(COUNT, 99)), r"holds 12 images, and .* names number 100"),
    ".cs of mixed contrast": (_cs(blob__sign=np.resize([1.0, -1.0], COUNT)), r"6 of 12 particles are dark"),
    ".cs of mixed boxes": (_cs(blob__shape=np.resize([16, 16, 18, 18], (COUNT, 2))), r"differ in their box"),
    ".cs of zero voltage": (_cs(ctf__accel_kv=np.zeros(COUNT)), r"is 0 kV"),
    ".cs with NaN": (_cs(ctf__df1_A=np.full(COUNT, np.nan)), r"holds something that is no number"),
    ".cs with an id twice": (_cs(uid=np.zeros(COUNT, np.uint64)), r"same 'uid'"),
    "poses of others": (
        _poses(TRUTH.matrices()[:5], np.zeros((5, 2))),
        r"pose.pkl: has 5 rows, and .*a.star 12 particles",
    ),
    "poses not orthonormal": (_poses(TRUTH.matrices() * 1.1), r"row 1 is no rotation"),
    "poses mirrored": (_poses(TRUTH.matrices() * -1), r"row 1 is no rotation"),
    "poses of another shape": (_poses(np.zeros((COUNT, 4))), r"of shape \(12, 4\), not"),
    "poses of three columns": (_poses(None, np.zeros((COUNT, 3))), r"shifts are two numbers"),
    "poses in pixels": (_poses(None, np.full((COUNT, 2), 3.0)), r"beyond 1, so they are in pixels"),
    "poses of three parts": (_poses(None, None, np.zeros((COUNT, 3))), r"holds 3 parts"),
    "poses of nothing at all": (_beside("poses", "pose.pkl", pickle.dumps(())), r"pose.pkl: holds 0 parts"),
    "shifts of NaN": (_poses(None, np.full((COUNT, 2), np.nan)), r"pose.pkl: holds shifts that are no numbers"),
    "poses of NaN": (_poses(TRUTH.matrices() * np.nan), r"row 1 is no rotation"),
    "hostile poses": (_beside("poses", "pose.pkl", pickle.dumps(_Runs())), r"could run code"),
    "poses of nothing": (_beside("poses", "pose.npz", arrays_bytes({"a": np.zeros(3)})), r"is no table of particles"),
    "our poses of another length": (_damaged_set("rotation", np.zeros((5, 3, 3))), r"of different lengths"),
    "our poses not orthonormal": (_damaged_set("rotation", np.ones((COUNT, 3, 3))), r"row 1 is no rotation"),
    "our poses of a stack beyond": (_damaged_set("stack", np.full(COUNT, 9)), r"names stacks or numbers"),
    "our poses of text": (_damaged_set("shift_A", np.full((COUNT, 2), "a")), r"names stacks or numbers"),
    "ctf of others": (_ctf(_table_of_ctf()[:4]), r"ctf.pkl: has 4 rows, and"),
    "ctf of another shape": (_ctf(_table_of_ctf()[:, :8]), r"of shape \(12, 8\)"),
    "ctf of zero voltage": (_ctf(_table_of_ctf(kv=0)), r"voltage_kV in row 4 is 0"),
    "ctf of no contrast": (_ctf(_table_of_ctf(w=7)), r"amplitude_contrast in row 4 is 7"),
    "ctf of NaN": (_ctf(_table_of_ctf(u=np.nan)), r"defocus in row 4 is nan"),
    "ctf of no pixels": (_ctf(_table_of_ctf(size=0)), r"pixel size in row 4 is 0"),
    "selection beyond the end": (_selection(np.array([0, 12])), r"holds the index 12, and .* has 12 particles"),
    "selection negative": (_selection(np.array([0, -1])), r"holds the index -1"),
    "selection twice": (_selection(np.array([3, 3])), r"holds the index 3 twice"),
    "selection empty": (_selection(np.array([], int)), r"selects no particle"),
    "selection of fractions": (_selection(np.array([0.5])), r"holds no list of indices"),
    "selection of words": (_selection("one two", "ind.txt"), r"holds something that is no index"),
    "a mask of others": (_selection(np.ones(5, bool)), r"is a mask of 5 particles"),
}


@pytest.mark.parametrize("name", BAD)
def test_it_is_refused_in_one_sentence_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make, said = BAD[name]
    inputs = make(tmp_path)
    there = sorted(os.listdir(tmp_path))
    with pytest.raises(InputInvalid, match=said) as error:
        read_particles(**inputs)
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)
    assert sorted(os.listdir(tmp_path)) == there


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_image_of_no_numbers_is_named_by_number_and_stack(tmp_path: Path, bad: float) -> None:
    images = numbered_images()
    images[7, 3, 4] = bad
    found = read_particles(write_stack(tmp_path / "a.mrcs", images))
    assert read_images(found, np.arange(7)).shape == (7, BOX, BOX)
    with pytest.raises(InputInvalid, match=r"a.mrcs: image 8 holds NaN or infinite values"):
        read_images(found, np.array([9, 7]))


def test_passthrough_files_are_of_cryosparc_alone(tmp_path: Path) -> None:
    path = _star(star31(TRUTH, NAMES))(tmp_path)["particles"]
    with pytest.raises(InputInvalid, match="nothing was passed through"):
        read_particles(path, passthrough=[path])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_damaged_table_or_header_is_a_set_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    path = _star(star31(TRUTH, NAMES))(folder)["particles"]
    damaged = data.draw(st.sampled_from([path, folder / "a.mrcs"]))
    raw = bytearray(damaged.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, min(len(raw), 2000) - 1))] = data.draw(st.integers(0, 255))
    damaged.write_bytes(bytes(raw))
    said = [""]
    try:
        assert read_particles(path).box > 0
    except InputInvalid as error:
        said.append(str(error))
    assert "\n" not in said[-1]
