"""Pickles of arrays of every protocol, read without running anything; and pickles that were made to run something."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats.pickled_arrays import pickled, read_pickled

ARRAY = np.arange(12.0).reshape(3, 4)


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_every_protocol_come_back(tmp_path: Path, protocol: int) -> None:
    value = (
        ARRAY,
        ARRAY.astype(">f4"),
        np.asfortranarray(ARRAY),
        ARRAY > 3,
        np.array(["ab", "c"]),
        np.float32(2.5),
        np.array(7),
        [1, "text", None, {"zdim": 8}],
    )
    path = written(tmp_path / "a.pkl", pickle.dumps(value, protocol))
    (found,) = read_pickled(path)
    for one, wanted in zip(found[:5], value[:5], strict=True):
        assert np.array_equal(one, wanted)
        assert one.dtype.isnative
    assert found[5:] == (2.5, 7, [1, "text", None, {"zdim": 8}])


def test_several_pickles_behind_each_other_are_all_read(tmp_path: Path) -> None:
    path = written(tmp_path / "z.pkl", pickled(ARRAY, -ARRAY))
    mean, variance = read_pickled(path)
    assert np.array_equal(mean, -variance)
    with open(path, "rb") as file:
        assert np.array_equal(pickle.load(file), ARRAY)


def test_a_pickle_of_numpy_1_and_of_python_2_is_read(tmp_path: Path) -> None:
    old = pickle.dumps(ARRAY, 2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert np.array_equal(read_pickled(written(tmp_path / "a.pkl", old))[0], ARRAY)
    two = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x00cnumpy\nndarray\nq\x01K\x00\x85U\x01b\x87R(K\x01K\x02\x85"
        b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x02\x05\xfftb."
    )
    assert read_pickled(written(tmp_path / "b.pkl", two))[0].tolist() == [5, 255]


class _Runs:
    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)


def _program(*parts: bytes) -> bytes:
    return b"\x80\x04" + b"".join(parts) + b"."


HOSTILE = {
    "a call": pickle.dumps(_Runs()),
    "a call in an array": pickle.dumps(np.array([_Runs()], dtype=object)),
    "an array of objects": pickle.dumps(np.array([{}, None], dtype=object)),
    "a structured array": pickle.dumps(np.zeros(2, [("a", "f4")])),
    "eval": _program(b"cbuiltins\neval\n\x8c\x011\x85R"),
    "numpy's own loader": _program(b"cnumpy\nload\n\x8c\x011\x85R"),
    "a dotted name": _program(b"\x8c\x05numpy\x8c\x10ndarray.__class__\x93"),
    "a huge bytearray": b"\x80\x05\x96" + struct.pack("<Q", 1 << 60) + b".",
    "a state on a call": _program(b"cnumpy\ndtype\n}\x8c\x01ax\x8c\x01bsb"),
    "a shape without bytes": _program(
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01J\xff\xff\xff\x7f\x85cnumpy"
        b"\ndtype\n\x8c\x02f8\x89\x88\x87R\x89C\x00tb"
    ),
    "a tuple within itself": _program(b"]\x94h\x00a"),
    "cut off": pickle.dumps(ARRAY)[:-9],
    "text": b"0 1 2 3\n",
    "nothing": b"",
    "seventeen": pickled(*range(17)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_is_refused_in_one_sentence_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "a.pkl", HOSTILE[name])
    with pytest.raises(InputInvalid) as error:
        read_pickled(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    assert sorted(os.listdir(tmp_path)) == ["a.pkl"]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_pickle_is_an_array_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    raw = bytearray(pickle.dumps((ARRAY, np.arange(3)), data.draw(st.integers(0, 5))))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "a.pkl"
    path.write_bytes(bytes(raw))
    said = [""]
    try:
        assert isinstance(read_pickled(path), list)
    except InputInvalid as error:
        said.append(str(error))
    assert "\n" not in said[-1]


def test_pickles_of_cryodrgn_and_tomodrgn_are_read(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/heterogeneity"
    for name, shape in (
        ("cryodrgn_toy/toy_angles.pkl.gz", (1000, 3, 3)),
        ("tomodrgn_10076/ctf_classD.pkl.gz", (576, 9)),
    ):
        path = written(tmp_path / "a.pkl", gzip.decompress((folder / name).read_bytes()))
        assert read_pickled(path)[0].shape == shape
