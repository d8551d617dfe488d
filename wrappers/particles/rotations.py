"""Rotation vectors of CryoSPARC and Euler angles of RELION.

With R the matrix of a rotation vector (axis times angle in radians), RELION's matrix is A = R transposed: it takes the
object to the view, so that a point X is seen at the first two coordinates of A X.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]

_PARALLEL = 1e-7
_AT_ONCE = 100_000
"""Particles whose matrices are held at a time."""


def angles_of_vectors(vectors: Array, turned_deg: float = 0.0) -> Array:
    """RELION's rot, tilt, psi in degrees (N, 3) of CryoSPARC's rotation vectors (N, 3).

    Parameters
    ----------
    turned_deg
        By so much the object is turned about z first, counter-clockwise seen from the top.
    """
    turn = Rotation.from_euler("z", turned_deg, degrees=True)
    parts = [np.zeros((0, 3))]
    for at in range(0, len(vectors), _AT_ONCE):
        # A point X of the object as it was is at T X now; A X = (A T^-1) (T X).
        inverse = turn * Rotation.from_rotvec(vectors[at : at + _AT_ONCE])
        parts.append(euler_angles(inverse.as_matrix().transpose(0, 2, 1)))
    return np.concatenate(parts)


def vectors_of_angles(angles: Array, turned_deg: float = 0.0) -> Array:
    """CryoSPARC's rotation vectors (N, 3), of a length up to pi, of RELION's rot, tilt, psi in degrees (N, 3).

    Parameters
    ----------
    turned_deg
        By so much the object is turned about z first, counter-clockwise seen from the top.
    """
    turn = Rotation.from_euler("z", turned_deg, degrees=True)
    vectors: Array = (turn * Rotation.from_euler("ZYZ", angles, degrees=True)).as_rotvec()
    return vectors


def euler_angles(matrices: Array) -> Array:
    """RELION's rot, tilt, psi in degrees, (N, 3), of its rotation matrices (N, 3, 3), object to view.

    The third row is (sin tilt cos rot, sin tilt sin rot, cos tilt) in x, y, z. Views along z leave rot and psi to each
    other; rot is 0 then.
    """
    a = matrices
    across = np.hypot(a[:, 2, 0], a[:, 2, 1])
    along = across < _PARALLEL
    tilt = np.arctan2(across, a[:, 2, 2])
    rot = np.where(along, 0.0, np.arctan2(a[:, 2, 1], a[:, 2, 0]))
    upright = np.where(a[:, 2, 2] > 0, np.arctan2(-a[:, 1, 0], a[:, 0, 0]), np.arctan2(a[:, 1, 0], -a[:, 0, 0]))
    psi = np.where(along, upright, np.arctan2(a[:, 1, 2], -a[:, 0, 2]))
    degrees: Array = np.degrees(np.stack([rot, tilt, psi], axis=1))
    return degrees


def matrices_of_angles(angles: Array) -> Array:
    """RELION's matrices A (N, 3, 3), object to view, of rot, tilt, psi in degrees (N, 3)."""
    matrices: Array = Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix().transpose(0, 2, 1)
    return np.ascontiguousarray(matrices)


def matrices_of_vectors(vectors: Array) -> Array:
    """RELION's matrices A (N, 3, 3), object to view, of CryoSPARC's rotation vectors (N, 3)."""
    matrices: Array = Rotation.from_rotvec(vectors).as_matrix().transpose(0, 2, 1)
    return np.ascontiguousarray(matrices)
