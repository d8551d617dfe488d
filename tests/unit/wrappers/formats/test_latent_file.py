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
    with pytest.raises(InputInvalid, match=r"is no \.npy of plain numbers"):
        read_latents(tmp_path / "z.npy", 2)
