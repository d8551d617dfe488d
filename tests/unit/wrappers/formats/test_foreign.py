"""Files that were given for something else are named for what they are, in one sentence."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import safetensors.numpy

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.formats.foreign import kind_of
from cryobridge.wrappers.formats.particles import read_views


def archive(kind: str) -> bytes:
    made = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(made, "w") as file:
            file.writestr("a.txt", "a")
    else:
        with tarfile.open(fileobj=made, mode="w") as file:
            file.addfile(tarfile.TarInfo("a.txt"))
    return made.getvalue()


def numpy_table() -> bytes:
    made = io.BytesIO()
    np.save(made, np.zeros(3, dtype=[("uid", "<u8")]))
    return made.getvalue()


STRANGERS = {
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(3000),
    "PDF": b"%PDF-1.7\n" + b"x" * 3000,
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(3000),
    "TIFF": b"II*\0" + bytes(3000),
    "zip archive": archive("zip"),
    "tar archive": archive("tar"),
    "model of IMOD": b"IMODV1.2" + bytes(3000),
    "image list": b"#LSX\n# comment\n# 100\n" + b"0 a.hdf\n" * 300,
    "web page": b"<!DOCTYPE html>\n" + b"<p>" * 1000,
    "JSON": b'{"a": 1}' + b" " * 3000,
    r"\(PDB\)": b"ATOM      1  N   MET A   1\n" * 100,
    "mmCIF": b"data_1ABC\n#\n_entry.id 1ABC\n" + b"#\n" * 1000,
    "safetensors": safetensors.numpy.save({"a": np.zeros(1000, np.float32)}),
}


@pytest.mark.parametrize("what", STRANGERS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_stranger_is_named_as_a_map_and_as_particles(tmp_path: Path, what: str, pack: type[bytes]) -> None:
    path = tmp_path / "given"
    path.write_bytes(pack(STRANGERS[what]))
    with pytest.raises(InputInvalid, match=rf"^{path}: is an? .*{what}.*not a map") as refused:
        mrc.read(path)
    assert "\n" not in str(refused.value)
    with pytest.raises(InputInvalid, match=rf"^{path}: is an? .*{what}.*not a table of particles"):
        read_views(path)


def test_tables_are_named_as_maps(tmp_path: Path) -> None:
    (tmp_path / "a.star").write_text("\n# version 30001\n\ndata_particles\n\nloop_\n_rlnImageName\n1@a.mrcs\n")
    with pytest.raises(InputInvalid, match="is a STAR file, not a map"):
        mrc.read(tmp_path / "a.star")
    (tmp_path / "a.cs").write_bytes(numpy_table())
    with pytest.raises(InputInvalid, match=r"is a numpy table, such as a CryoSPARC \.cs, not a map"):
        mrc.read(tmp_path / "a.cs")


@pytest.mark.parametrize("box", [16, 123])
def test_maps_and_stacks_are_named_as_particles(tmp_path: Path, box: int) -> None:
    with mrcfile.new(tmp_path / "a.mrcs") as file:
        file.set_data(np.zeros((2, box, box), np.float32))
    with pytest.raises(InputInvalid, match="is an MRC file of a map or of images"):
        read_views(tmp_path / "a.mrcs")


@pytest.mark.parametrize("head", [b"", b"voxel size 2.0\n" * 200, bytes(1024), np.arange(256, dtype="<i4").tobytes()])
def test_what_is_nothing_known_stays_unnamed(head: bytes) -> None:
    assert kind_of(head) is None
