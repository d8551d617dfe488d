"""Rotations of both programs against Rodrigues' formula and RELION's definition of its matrix, in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryobridge.wrappers.particles.rotations import angles_of_vectors, vectors_of_angles

numbers = st.floats(-4, 4, allow_nan=False)


def rodrigues(vector: np.ndarray) -> np.ndarray:
    """R = I + sin(theta) K + (1 - cos(theta)) K^2."""
    theta = np.linalg.norm(vector)
    if theta == 0:
        return np.eye(3)
    x, y, z = vector / theta
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(theta) * k + (1 - np.cos(theta)) * k @ k


def relion(rot: float, tilt: float, psi: float) -> np.ndarray:
    """Euler_angles2matrix: psi about z after tilt about y after rot about z, of the coordinate system."""

    def about_z(degrees: float) -> np.ndarray:
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])

    c, s = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    return about_z(psi) @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]) @ about_z(rot)


@given(st.tuples(numbers, numbers, numbers))
def test_angles_give_the_transposed_matrix_of_the_vector(vector: tuple[float, float, float]) -> None:
    found = angles_of_vectors(np.array([vector]))[0]
    assert np.allclose(relion(*found), rodrigues(np.array(vector)).T, atol=2e-7)


@given(st.tuples(st.floats(-180, 180), st.floats(0, 180), st.floats(-180, 180)))
def test_vectors_give_the_transposed_matrix_of_the_angles(angles: tuple[float, float, float]) -> None:
    found = vectors_of_angles(np.array([angles]))[0]
    assert np.linalg.norm(found) <= np.pi + 1e-9
    assert np.allclose(rodrigues(found), relion(*angles).T, atol=1e-9)


@pytest.mark.parametrize(
    ("vector", "angles"),
    [
        ((0, 0, 0), (0, 0, 0)),
        ((0, 0, np.pi / 2), (0, 0, 90)),
        ((np.pi, 0, 0), (0, 180, 180)),
        ((0, np.pi, 0), (0, 180, 0)),
    ],
)
def test_views_along_z_have_rot_0(vector: tuple[float, float, float], angles: tuple[float, float, float]) -> None:
    found = angles_of_vectors(np.array([vector], dtype=float))[0]
    assert found[0] == 0
    assert np.allclose(relion(*found), relion(*angles), atol=1e-9)
    assert np.allclose(relion(*found), rodrigues(np.array(vector)).T, atol=1e-9)


@given(st.tuples(numbers, numbers, numbers), st.floats(-180, 180))
def test_a_turned_object_is_seen_as_before(vector: tuple[float, float, float], degrees: float) -> None:
    """Each point of the object and its turned place have one image."""
    point = np.array([0.3, -1.2, 0.7])
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turned = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ point
    before = relion(*angles_of_vectors(np.array([vector]))[0]) @ point
    after = relion(*angles_of_vectors(np.array([vector]), degrees)[0]) @ turned
    assert np.allclose(before, after, atol=1e-6)


@given(st.tuples(numbers, numbers, numbers), st.floats(-180, 180))
def test_there_and_back_is_where_it_was(vector: tuple[float, float, float], degrees: float) -> None:
    back = vectors_of_angles(angles_of_vectors(np.array([vector]), degrees), -degrees)[0]
    assert np.allclose(rodrigues(back), rodrigues(np.array(vector)), atol=1e-6)
