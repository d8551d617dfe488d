"""Arrays by name: what was written comes back, and what was made to fill the memory or run something does not."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats.array_file import arrays_bytes, read_array, read_arrays


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(6, dtype=np.int16).reshape(2, 3),
        "f": np.asfortranarray(np.random.default_rng(0).normal(size=(3, 4))),
        "text": np.array(["Å", "b"]),
        "one": np.array(5.0),
        "none": np.zeros((0, 3)),
    }
    (tmp_path / "a.npz").write_bytes(arrays_bytes(arrays))
    found = read_arrays(tmp_path / "a.npz")
    assert list(found) == list(arrays)
    for name, values in arrays.items():
        assert found[name].dtype == values.dtype
        assert np.array_equal(found[name], values)


def test_a_compressed_archive_and_a_single_array_are_read(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", z=np.ones((5, 5)))
    np.save(tmp_path / "a.npy", np.arange(4))
    assert read_arrays(tmp_path / "a.npz")["z"].sum() == 25
    assert read_array(tmp_path / "a.npy").tolist() == [0, 1, 2, 3]


def _zip(content: bytes, name: str = "a.npy", compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def _npy(values: np.ndarray, *, announced: str | None = None) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, values)
    raw = file.getvalue()
    return raw if announced is None else raw.replace(b"(4,)", announced.encode())


BAD = {
    "objects": _zip(_npy(np.array([{}, []], dtype=object))),
    "a table": _zip(_npy(np.zeros(2, [("a", "f4")]))),
    "too few bytes": _zip(_npy(np.zeros(4), announced="(9,)")),
    "more bytes": _zip(_npy(np.zeros(4), announced="(2,)")),
    "no array": _zip(b"hello"),
    "a bomb": _zip(bytes(200 << 20), compression=zipfile.ZIP_DEFLATED),
    "text": b"hello",
    "one array": _npy(np.zeros(4)),
    "cut off": _zip(_npy(np.zeros(400)))[:-60],
    "nothing": b"",
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_plain_archive_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(BAD[name])
    with pytest.raises(InputInvalid) as error:
        read_arrays(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
