"""Particles of a molecule whose states are known: a core, an arm on a hinge, and a cap that may be missing.

It is made of equal Gaussians, so that projections and volumes are exact sums, without any interpolation. Geometry and
signs are RELION's: a point X is seen at A X + s, s = -origin; particles are bright on dark.

    python bench/moving_molecule.py FOLDER --kind conf1d --seed 1

writes what a user has (particles.star, particles.mrcs) and what only a test has (truth.npz, truth_*.mrc, mask.mrc).
"""

import argparse
import json
from pathlib import Path

import mrcfile
import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.spatial.transform import Rotation

from cryobridge.wrappers.formats import star

KINDS = {
    "conf1d": {"swing": 70.0},
    "twostate": {"caps": 1},
    "mixed": {"swing": 70.0, "caps": 1},
    "homogeneous": {},
    "poses": {"swing": 70.0, "pose_error_deg": 3.0},
    "wrong_poses_only": {"pose_error_deg": 3.0},
    "junk": {"swing": 70.0, "junk": 0.25},
    "faint": {"swing": 70.0, "snr": 0.02},
    "many": {"swing": 240.0, "caps": 3},
}
"""wrong_poses_only: nothing varies, but all angles are off; many: the arm turns by 240 degrees, and one of three caps,
or none, is there."""
SIGMA_A = 2.2
PROBES = (0.1, 0.3, 0.5, 0.7, 0.9)
BOX, PIXEL_A, MAP_BOX = 128, 1.5, 64


class Molecule:
    """Atoms (K, 3) in Angstrom at a coordinate t of the arm, 0 to 1, and with a cap, 0 for none."""

    def __init__(self, swing=0.0, caps=0, seed=7):
        self.swing, self.caps = swing, caps
        rng = np.random.default_rng(seed)
        self.core = _cloud(rng, 260, (38, 30, 26), (-8, -4, 0))
        self.hinge = np.array([28.0, 0, 0])
        self.arm = _cloud(rng, 90, (24, 9, 9), (50, 0, 0))
        places = ((-14, 34, 10), (-30, -30, 12), (0, 4, -34))
        self.cap_atoms = [_cloud(rng, 80, (15, 13, 13), place) for place in places[: max(caps, 1)]]

    def atoms(self, t=0.5, cap=0):
        """Places (K, 3) in Angstrom."""
        turn = Rotation.from_euler("z", (t - 0.5) * self.swing, degrees=True)
        arm = turn.apply(self.arm - self.hinge) + self.hinge
        parts = [self.core, arm]
        # What has no states always has its cap.
        if self.caps == 0 or cap:
            parts.append(self.cap_atoms[cap - 1 if self.caps else 0])
        return np.concatenate(parts)

    def volume(self, t, cap, box=MAP_BOX, pixel_A=PIXEL_A * BOX / MAP_BOX):
        """The map in z, y, x."""
        axis = (np.arange(box) - box / 2) * pixel_A
        x, y, z = (np.exp(-((axis - column[:, None]) ** 2) / (2 * SIGMA_A**2)) for column in self.atoms(t, cap).T)
        return np.einsum("nz,ny,nx->zyx", z, y, x, optimize=True).astype(np.float32)

    def mask(self):
        """Soft, around everything that is ever there."""
        caps = range(1, self.caps + 1) if self.caps else (0,)
        ever = sum(self.volume(t, cap) for t in np.linspace(0, 1, 9) for cap in caps) > 0.3
        distance_A = distance_transform_edt(~ever) * PIXEL_A * BOX / MAP_BOX
        return (0.5 + 0.5 * np.cos(np.pi * np.clip((distance_A - 6) / 9, 0, 1))).astype(np.float32)


def _cloud(rng, count, radii, centre):
    """Points in an ellipsoid that keep 3 A from each other."""
    found = np.empty((0, 3))
    while len(found) < count:
        point = rng.uniform(-1, 1, 3)
        if point @ point <= 1:
            place = point * radii + np.array(centre)
            if len(found) == 0 or ((found - place) ** 2).sum(axis=1).min() > 9:
                found = np.vstack([found, place])
    return found


def matrices(angles):
    """RELION's matrices (N, 3, 3), object to view, of rot, tilt, psi in degrees (N, 3)."""
    return Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix().transpose(0, 2, 1)


def ctf(x, y, table, row):
    """RELION's CTF at frequencies in 1/A, positive where they are low."""
    volts = 1e3 * table["kv"][row]
    wave = 12.2643247 / np.sqrt(volts * (1 + 0.978466e-6 * volts))
    s2, theta = x * x + y * y, np.arctan2(y, x)
    u, v = table["defocus_u"][row], table["defocus_v"][row]
    defocus = 0.5 * (u + v) + 0.5 * (u - v) * np.cos(2 * (theta - np.radians(table["defocus_angle"][row])))
    gamma = np.pi * wave * (0.5e7 * table["cs_mm"][row] * wave**2 * s2**2 - defocus * s2)
    share = table["amplitude"][row]
    return share * np.cos(gamma) - np.sqrt(1 - share**2) * np.sin(gamma)


def simulated(kind, count, seed):
    """Images (count, BOX, BOX) float32 of noise with variance 1, and everything that is known of each."""
    settings = dict(KINDS[kind])
    snr, junk, error = settings.pop("snr", 0.1), settings.pop("junk", 0.0), settings.pop("pose_error_deg", 0.0)
    molecule, rng = Molecule(**settings), np.random.default_rng(seed)
    tilt = np.degrees(np.arccos(rng.uniform(-1, 1, count)))
    table = {
        "t": rng.uniform(0, 1, count) if molecule.swing else np.full(count, 0.5),
        "state": _states(rng, molecule.caps, count),
        "is_junk": rng.uniform(size=count) < junk,
        "angles": np.stack([rng.uniform(-180, 180, count), tilt, rng.uniform(-180, 180, count)], axis=1),
        "origin": np.clip(rng.normal(0, 2, (count, 2)), -8, 8),
        "kv": np.full(count, 300.0),
        "cs_mm": np.full(count, 2.7),
        "amplitude": np.full(count, 0.1),
        "defocus_u": rng.uniform(8000, 20000, count),
        "defocus_angle": rng.uniform(0, 180, count),
    }
    table["defocus_v"] = table["defocus_u"] - rng.uniform(0, 400, count)
    table["told_angles"] = table["angles"] + error * rng.normal(size=(count, 3))
    seen = _clean(molecule, table)
    axis = (np.arange(BOX) - BOX / 2) / BOX
    inside = axis[None] ** 2 + axis[:, None] ** 2 <= 0.45**2
    noise = np.sqrt(float(seen[: min(count, 1000), inside].var()) / snr)
    for row in range(count):
        seen[row] = (0 if table["is_junk"][row] else seen[row] / noise) + rng.standard_normal((BOX, BOX))
    return molecule, seen, table


def _states(rng, caps, count):
    """0 without a cap; of one cap four particles in ten have it."""
    return rng.choice(caps + 1, count, p=[0.6, 0.4] if caps == 1 else None) if caps else np.zeros(count, int)


def _clean(molecule, table):
    turned = matrices(table["angles"])
    axis = (np.arange(BOX) - BOX / 2) * PIXEL_A
    y, x = np.meshgrid(np.fft.fftfreq(BOX, PIXEL_A), np.fft.rfftfreq(BOX, PIXEL_A), indexing="ij")
    images = np.empty((len(turned), BOX, BOX), np.float32)
    depth = SIGMA_A * np.sqrt(2 * np.pi) / PIXEL_A
    for row, matrix in enumerate(turned):
        places = molecule.atoms(table["t"][row], table["state"][row]) @ matrix[:2].T - table["origin"][row] * PIXEL_A
        along = [np.exp(-((axis - places[:, one, None]) ** 2) / (2 * SIGMA_A**2)) for one in (0, 1)]
        projected = (along[1].T @ along[0]) * depth
        images[row] = np.fft.irfft2(np.fft.rfft2(projected) * ctf(x, y, table, row), s=(BOX, BOX))
    return images


def written(folder, kind, count, seed):
    """Write a data set; returns its description."""
    folder.mkdir(parents=True, exist_ok=True)
    molecule, images, table = simulated(kind, count, seed)
    with mrcfile.new(folder / "particles.mrcs", overwrite=True) as file:
        file.set_data(images)
        file.set_image_stack()
        file.voxel_size = PIXEL_A
    star.write_atomically(folder / "particles.star", _blocks(table, count))
    np.savez(folder / "truth.npz", **table)
    pixel_A = PIXEL_A * BOX / MAP_BOX
    caps = range(molecule.caps + 1)
    probes = [
        {"t": t, "state": cap, "file": f"truth_{at:02d}.mrc"}
        for at, (t, cap) in enumerate((t, cap) for t in (PROBES if molecule.swing else (0.5,)) for cap in caps)
    ]
    for probe in probes:
        _write_volume(folder / probe["file"], molecule.volume(probe["t"], probe["state"]), pixel_A)
    _write_volume(folder / "mask.mrc", molecule.mask(), pixel_A)
    told = {"kind": kind, "count": count, "seed": seed, "box": BOX, "apix": PIXEL_A, "train_box": MAP_BOX}
    told |= {"apix_train": pixel_A, "probes": probes}
    (folder / "dataset.json").write_text(json.dumps(told, indent=1) + "\n")
    return told


def _write_volume(path, volume, pixel_A):
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(volume)
        file.voxel_size = pixel_A


def _blocks(table, count):
    optics = {
        "rlnOpticsGroupName": ["opticsGroup1"],
        "rlnOpticsGroup": [1],
        "rlnVoltage": [300.0],
        "rlnSphericalAberration": [2.7],
        "rlnAmplitudeContrast": [0.1],
        "rlnImagePixelSize": [PIXEL_A],
        "rlnImageSize": [BOX],
        "rlnImageDimensionality": [2],
    }
    particles = {
        "rlnImageName": [f"{row + 1:06d}@particles.mrcs" for row in range(count)],
        "rlnMicrographName": [f"mic{row // 100:04d}.mrc" for row in range(count)],
        "rlnAngleRot": table["told_angles"][:, 0].tolist(),
        "rlnAngleTilt": table["told_angles"][:, 1].tolist(),
        "rlnAnglePsi": table["told_angles"][:, 2].tolist(),
        "rlnOriginXAngst": (table["origin"][:, 0] * PIXEL_A).tolist(),
        "rlnOriginYAngst": (table["origin"][:, 1] * PIXEL_A).tolist(),
        "rlnDefocusU": table["defocus_u"].tolist(),
        "rlnDefocusV": table["defocus_v"].tolist(),
        "rlnDefocusAngle": table["defocus_angle"].tolist(),
        "rlnPhaseShift": [0.0] * count,
        "rlnRandomSubset": [1 + row % 2 for row in range(count)],
        "rlnOpticsGroup": [1] * count,
    }
    return {"optics": optics, "particles": particles}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kind", choices=KINDS, default="conf1d")
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(json.dumps(written(given.folder, given.kind, given.count, given.seed)))
