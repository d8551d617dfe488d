"""Files of latents are read whatever wrote them, and one sentence says what is wrong with others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats.latent_file import read_latents

Z = np.array([[0.5, -1.0], [2e-3, 4.0], [0.0, 7.25]])


def test_every_sort_of_file_gives_the_same(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "a.txt", Z)
    np.savetxt(tmp_path / "b.csv", Z, delimiter=",", header="z1,z2")
    np.save(tmp_path / "c.npy", Z)
    np.savez(tmp_path / "d.npz", z=Z, log_variance=Z + 1)
    np.savez(tmp_path / "e.npz", centres=Z)
    lines = ["file,z2,note,z1", *(f"v{row}.mrc,{two},x,{one}" for row, (one, two) in enumerate(Z.tolist()))]
    (tmp_path / "f.csv").write_text("\n".join(lines))
    for name in ("a.txt", "b.csv", "c.npy", "d.npz", "e.npz", "f.csv"):
        np.testing.assert_allclose(read_latents(tmp_path / name, 2), Z, rtol=1e-6, err_msg=name)


def test_one_latent_and_latents_of_one_number_may_be_one_line_or_column(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", Z[0])
    assert read_latents(tmp_path / "one.npy", 2).shape == (1, 2)
    assert read_latents(tmp_path / "one.npy", 1).shape == (2, 1)


@given(z=arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 4)), elements=st.floats(-1e6, 1e6, width=32)))
def test_what_was_written_is_read_again(z: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("z") / "z.txt"
    path.write_text("\n".join(" ".join(f"{value:.9g}" for value in row) for row in z.tolist()))
    np.testing.assert_array_equal(read_latents(path, z.shape[1]), z)


@given(raw=st.binary(max_size=200), suffix=st.sampled_from([".txt", ".csv", ".npy", ".npz"]))
def test_anything_at_all_is_latents_or_one_sentence(
    raw: bytes, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("z") / f"z{suffix}"
    path.write_bytes(raw)
    try:
        found, said = read_latents(path, 2), str(path)
    except InputInvalid as error:
        found, said = np.zeros((0, 2)), str(error)
    assert found.shape[1] == 2
    assert np.isfinite(found).all()
    assert said.startswith(str(path))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("z.txt", "", "is empty"),
        ("z.txt", "1 2\n3\n", "line 2 has 1 numbers, those before it 2"),
        ("z.txt", "1 2\na b\n", "line 2 is no row of numbers"),
        ("z.txt", "1 2 3\n", "have 3 numbers, those of the run 2"),
        ("z.txt", "1 2\nnan 0\n", "latent 2 holds a number that is not finite"),
        ("z.txt", "1 2\n1e300 0\n", "latent 2 holds a number that is not finite"),
        ("z.csv", "1,,2\n", "line 1 is no row of numbers"),
        ("z.csv", "1,2\n1,,2\n", "line 2 is no row of numbers"),
        ("z.csv", "z1,z2\n1,2\n\n,2\n", "line 4 has no number under 'z1'"),
        ("z.csv", "z1,note,z2\n1,a,b,2\n", "line 2 has 4 columns, and the heading 3"),
        ("z.txt", "volume z1 z2 density\n.1 .2 9\n", "line 2 has 3 columns, and the heading 4"),
        ("z.csv", "z1,z2\n", "is empty"),
        ("z.npy", "nonsense", "is no .npy of plain numbers"),
        ("z.npz", "nonsense", "is no .npz of plain arrays"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputInvalid, match=said):
        read_latents(tmp_path / name, 2)


def test_an_array_of_objects_is_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "z.npy", np.array([{"a": 1}, None], dtype=object), allow_pickle=True)
    with pytest.raises(InputInvalid, match="holds objects, which could run code"):
        read_latents(tmp_path / "z.npy", 2)


def test_an_array_that_announces_more_than_there_is_is_refused(tmp_path: Path) -> None:
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000, 2), }".ljust(117) + "\n"
    (tmp_path / "z.npy").write_bytes(b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header.encode() + bytes(64))
    with pytest.raises(InputInvalid, match=r"is no \.npy of plain numbers, or damaged"):
        read_latents(tmp_path / "z.npy", 2)


@pytest.mark.parametrize(
    "text",
    [
        "volume,particle,z1,z2,density,note\n1,,0.5,-1,9.9,8.8\n2,7,2e-3,4,,\n",
        "step,nearest_particle,distance,file,z1,z2\n0,3,0.1,,0.5,-1\n1,4,0,vol_001.mrc,0.002,4\n",
        'image,stack,number,distance,z1,z2\n0,"/my run #2, b/a.mrcs",0,,0.5,-1\n1,/my run #2/a.mrcs,1,,0.002,4\n',
        ",z1,z2\n0,0.5,-1\n1,0.002,4\n",
        '\ufeff"z1","z2"\r\n"0.5","-1"\r\n\r\n"0.002","4"\r\n',
        "z1,z2,\n0.5,-1,\n0.002,4,\n,,\n",
        "0.5,-1,\n0.002,4,\n",
        "# z1,z2\n0.5, -1 # first, of two\n.002,\t4\n",
        "name z1 z2\na .5 -1 # first\nb .002 4\n",
    ],
)
def test_other_columns_may_be_empty_and_hold_anything(tmp_path: Path, text: str) -> None:
    (tmp_path / "z.csv").write_text(text, encoding="utf-8")
    np.testing.assert_allclose(read_latents(tmp_path / "z.csv", 2), Z[:2], rtol=1e-6)
