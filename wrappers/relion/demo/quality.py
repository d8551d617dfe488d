"""How good a map and its views are, against the known truth: overall, and where Fourier space was badly sampled.

Views that crowd about +z and -z leave a cone about the z axis of Fourier space badly sampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from .particles import euler_matrices
from .sums import squared_radius

Array = NDArray[np.float64]
CONE_HALF_ANGLE_DEG = 30.0


@dataclass(frozen=True)
class TruthFsc:
    """FSC of a map with the truth, one value per shell, all (box // 2 + 1,).

    Attributes
    ----------
    overall, inside, outside
        Over the whole shell; within the cone about z; everywhere else.
    """

    overall: Array
    inside: Array
    outside: Array

    def means(self, upto_shell: int, from_shell: int = 2) -> tuple[float, float, float]:
        """Means of the three curves over the shells from `from_shell` to `upto_shell`, both included."""
        chosen = slice(from_shell, upto_shell + 1)
        return (
            float(np.nanmean(self.overall[chosen])),
            float(np.nanmean(self.inside[chosen])),
            float(np.nanmean(self.outside[chosen])),
        )


def fsc_to_truth(volume: Array, truth: Array, mask: Array | None = None) -> TruthFsc:
    """Compare a (n, n, n) map with the truth, both multiplied by `mask` first."""
    n = volume.shape[0]
    weight = np.ones_like(truth) if mask is None else mask
    a, b = np.fft.rfftn(volume * weight), np.fft.rfftn(truth * weight)
    squared = squared_radius(n)
    shells = np.floor(np.sqrt(squared) + 0.5).astype(np.int64)
    kz = np.abs(np.fft.fftfreq(n, 1 / n))[:, None, None]
    cone = kz >= np.cos(np.deg2rad(CONE_HALF_ANGLE_DEG)) * np.sqrt(squared)
    return TruthFsc(*(_shell_fsc(a, b, shells, chosen) for chosen in (np.ones_like(cone), cone, ~cone)))


def _shell_fsc(
    a: NDArray[np.complex128], b: NDArray[np.complex128], shells: NDArray[np.int64], chosen: NDArray[np.bool_]
) -> Array:
    count = shells.shape[0] // 2 + 1
    use = chosen & (shells < count)
    friedel = np.where(np.arange(count) % (count - 1) == 0, 1.0, 2.0)
    weight = np.broadcast_to(friedel, shells.shape)[use]

    def total(values: Array) -> Array:
        return np.bincount(shells[use], values * weight, count).astype(np.float64)

    cross = total((a * b.conj()).real[use])
    power = total(np.abs(a[use]) ** 2) * total(np.abs(b[use]) ** 2)
    return np.divide(cross, np.sqrt(power), out=np.full(count, np.nan), where=power > 0)


def angular_errors_deg(euler_deg: Array, true_euler_deg: Array, fold: int = 1) -> Array:
    """(n,) angle of the rotation between each view and the true one, once the whole set is turned onto the truth.

    A refinement from a low-passed reference may settle in a frame slightly turned from the truth's; that turn, the
    same for all particles, is found from the best half of them and taken out. `fold`: of the specimen's Cn symmetry;
    a view counts from the nearest of its equivalents.
    """
    truth = euler_matrices(true_euler_deg) @ frame_turn(euler_deg, true_euler_deg, fold)
    return _angles_deg(_nearest(euler_matrices(euler_deg), truth, fold), truth)


def frame_turn(euler_deg: Array, true_euler_deg: Array, fold: int = 1) -> Array:
    """(3, 3) rotation T such that views are about truth @ T: the frame in which a refinement settled."""
    truth = euler_matrices(true_euler_deg)
    views = _nearest(euler_matrices(euler_deg), truth, fold)
    turn = _mean_rotation(np.swapaxes(truth, 1, 2) @ views)
    for _ in range(5):
        views = _nearest(views, truth @ turn, fold)
        errors = _angles_deg(views, truth @ turn)
        best = errors <= np.median(errors)
        turn = _mean_rotation(np.swapaxes(truth[best], 1, 2) @ views[best])
    return turn


def _nearest(views: Array, truth: Array, fold: int) -> Array:
    """Of the equivalents of each view (n, 3, 3) under Cn about z, the one nearest to the truth."""
    angles = 360.0 / fold * np.arange(fold)
    turns = euler_matrices(np.stack([angles, 0 * angles, 0 * angles], axis=1))
    equivalents = np.stack([views @ turn for turn in turns])
    errors = np.stack([_angles_deg(one, truth) for one in equivalents])
    nearest: Array = equivalents[errors.argmin(0), np.arange(len(views))]
    return nearest


def _mean_rotation(matrices: Array) -> Array:
    u, _, vt = np.linalg.svd(matrices.sum(0))
    mean: Array = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    return mean


def _angles_deg(a: Array, b: Array) -> Array:
    angles: Array = np.rad2deg(Rotation.from_matrix(a @ np.swapaxes(b, 1, 2)).magnitude())
    return angles
