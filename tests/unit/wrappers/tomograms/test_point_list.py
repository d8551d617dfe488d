"""Points of IMOD, napari, text and JSON come out the same; what is damaged or hostile is one sentence."""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.tomograms.imod_model import parse_imod_model, read_imod_model
from cryobridge.wrappers.tomograms.point_list import parse_points, read_points

POINTS = [[1.5, 2.0, 3.0], [10.0, 20.25, 30.0], [4.0, 5.0, 60.0]]
Contours = Sequence[Sequence[Sequence[float]]]


def model(*objects: Contours) -> bytes:
    """A model as IMOD's description of its format has it, with chunks that hold no points too."""
    header = struct.pack(">8s128s3ii", b"IMODV1.2", b"test", 96, 96, 80, len(objects)).ljust(240, b"\0")
    parts = [header]
    for contours in objects:
        parts.append(struct.pack(">4s64s", b"OBJT", b"CONT").ljust(4 + 176, b"\0"))
        for points in contours:
            parts.append(struct.pack(">4siIii", b"CONT", len(points), 8, 0, 0))
            parts += [struct.pack(">3f", *point) for point in points]
            parts.append(struct.pack(">4si", b"SIZE", 4 * len(points)) + struct.pack(">f", 3.0) * len(points))
        parts.append(struct.pack(">4siiIhh", b"MESH", 2, 3, 0, 0, 0) + bytes(2 * 12 + 3 * 4))
        parts.append(struct.pack(">4si", b"IMAT", 16) + b"CONT" + bytes(12))
    return b"".join([*parts, struct.pack(">4si", b"VIEW", 4), bytes(4), b"IEOF"])


def test_a_model_gives_all_points_in_its_order() -> None:
    found = parse_imod_model(model([POINTS[:1], POINTS[1:2]], [[], POINTS[2:]]), "a.mod")
    assert found.dtype == np.float64
    assert found.tolist() == POINTS
    assert parse_imod_model(model(), "a.mod").shape == (0, 3)


WRITTEN = {
    "a.mod": model([POINTS]),
    "plain.txt": "".join(f"# drawn by me\n {x}\t{y} {z}\n\n" for x, y, z in POINTS).encode(),
    "commas.txt": "".join(f"{x}, {y}, {z} # here\n" for x, y, z in POINTS).encode(),
    "model2point.txt": "".join(f"{1:6d} {2:6d} {x:12.3f} {y:12.3f} {z:12.3f}\n" for x, y, z in POINTS).encode(),
    "napari.csv": ("index,axis-0,axis-1,axis-2\n" + "".join(f"0.0,{z},{y},{x}\n" for x, y, z in POINTS)).encode(),
    "shapes.csv": (
        "index,shape-type,vertex-index,axis-0,axis-1,axis-2\n"
        + "".join(f"0,polygon,{at},{z},{y},{x}\n" for at, (x, y, z) in enumerate(POINTS))
    ).encode(),
    "named.csv": ("z;y;x\n".replace(";", ",") + "".join(f"{z},{y},{x}\n" for x, y, z in POINTS)).encode(),
    "lists.json": json.dumps(POINTS).encode(),
    "objects.json": json.dumps({"points": [dict(zip("xyz", point, strict=True)) for point in POINTS]}).encode(),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_points_are_the_same_from_every_program(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(WRITTEN[name])
    assert read_points(path).tolist() == POINTS


def test_no_points_are_an_empty_list(tmp_path: Path) -> None:
    for text in ("", "# nothing\n", "[]"):
        assert parse_points(text, "a.txt").shape == (0, 3)


@pytest.mark.parametrize("cut", [4, 100, 239, 241, 300, 420, 430, 450, -1, -5])
def test_a_model_that_was_cut_off_is_one_sentence(cut: int) -> None:
    with pytest.raises(InputInvalid, match=r"a.mod: .*(ends before|is no model)"):
        parse_imod_model(model([POINTS])[:cut], "a.mod")


@pytest.mark.parametrize("count", [-1, 2**31 - 1])
def test_a_model_that_announces_too_much_is_one_sentence(count: int) -> None:
    raw = model([POINTS]).replace(struct.pack(">4si", b"CONT", 3), struct.pack(">4si", b"CONT", count))
    with pytest.raises(InputInvalid, match="ends before"):
        parse_imod_model(raw, "a.mod")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 2\n", "line 1 has 2 numbers"),
        ("1 2 3\n4 five 6\n", "'five' .line 2."),
        ("1 2 inf\n", "'inf' .line 1."),
        ("a,b,c\n1,2,3\n", "has no columns x, y, z"),
        ("x,y,z\n1,2\n", "row 1 has 2 values"),
        ("[[1, 2]]", "entry 1 is no point"),
        ("[[1, 2, null]]", "entry 1"),
        ("[[1, 2,", "is no whole JSON"),
        ('{"a": 1}', "is no list of points"),
        ("[" * 100_000, "is no whole JSON"),
    ],
)
def test_text_that_holds_no_points_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(InputInvalid, match=said):
        parse_points(text, "a.txt")


def test_files_that_are_neither_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputInvalid, match="neither a model of IMOD nor text"):
        read_points(tmp_path / "a.bin")
    with pytest.raises(InputInvalid, match="No such file"):
        read_points(tmp_path / "none.mod")
    (tmp_path / "ascii.mod").write_text("imod 1\nobject 0 1 0\n")
    with pytest.raises(InputInvalid, match="binary model"):
        read_imod_model(tmp_path / "ascii.mod")


@settings(max_examples=80)
@given(st.integers(0, 700), st.binary(min_size=1, max_size=8))
def test_damaged_models_are_read_or_refused(at: int, new: bytes) -> None:
    raw = model([POINTS, POINTS])
    with contextlib.suppress(InputInvalid):
        assert parse_imod_model(raw[:at] + new + raw[at + len(new) :], "a.mod").shape[1] == 3


@settings(max_examples=80)
@given(st.text(max_size=60))
def test_any_text_is_points_or_refused(text: str) -> None:
    with contextlib.suppress(InputInvalid):
        assert parse_points(text, "a.txt").shape[1] == 3
