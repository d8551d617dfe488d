"""Tomograms with a known truth: even and odd halves of a crowded scene, seen through a missing wedge.

    python bench/tomogram_scene.py FOLDER --set tiny --seed 1

A scene is two membranes, one lying in the xy plane and one standing, vesicles, filaments and three kinds of globular
protein (in some sets bundles of rods, or beads of gold as well), dark in a slab of ice. Volumes are (z, y, x), the
beam is z and the tilt axis y; a tilt angle t measures the plane of Fourier space with the y axis and (x, z) =
(cos t, sin t). The noise is white inside what is measured, and everything is periodic in the box. With the same seed
the sheets of the controls differ and nothing else.
"""

import argparse
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import mrcfile
import numpy as np
from scipy.ndimage import binary_dilation

VOXEL_SIZE_A = 10.0
SHEET, UPRIGHT, VESICLE, PROTEIN, FILAMENT = 1, 2, 3, 4, 5
"""What labels.mrc says of a voxel; 0 is solvent."""
_LABELLED_ABOVE = 0.35
_SPECIES = ((14, 3.0), (24, 4.2), (9, 2.4))
"""Balls of each kind of protein, and how far they spread (voxels)."""


@dataclass(frozen=True)
class Sheet:
    """The membrane in the xy plane: its centre and radius as fractions of the box, its waves in voxels."""

    centre: tuple[float, float, float] = (0.36, 0.30, 0.30)
    radius: float = 0.22
    wave: float = 2.0
    present: bool = True


@dataclass(frozen=True)
class Scene:
    """What a set is made with. `snr` is the signal's variance over the noise's, in what is measured; None: no noise."""

    shape: tuple[int, int, int] = (80, 96, 96)
    proteins: int = 34
    snr: float | None = 0.5
    tilt_min_deg: float = -60.0
    tilt_max_deg: float = 60.0
    sheet: Sheet = Sheet()
    leaflet_distance: float = 1.6
    leaflet_width: float = 0.9
    protein_size: float = 1.0
    beads: int = 0
    bundles: int = 0


TINY = Scene()
SETS = {
    "tiny": TINY,
    "std": Scene(shape=(96, 128, 128), proteins=60),
    "clean": replace(TINY, snr=None),
    "asymmetric": replace(TINY, tilt_min_deg=-40.0),
    "shifted": replace(TINY, proteins=16, snr=0.2, leaflet_distance=2.6, leaflet_width=1.3, protein_size=1.5),
    "beads": replace(TINY, beads=8),
    "bundles": replace(TINY, proteins=0, bundles=22, snr=0.3),
    "moved": replace(TINY, sheet=Sheet(centre=(0.66, 0.68, 0.30))),
    "smaller": replace(TINY, sheet=Sheet(radius=0.13)),
    "waved": replace(TINY, sheet=Sheet(wave=5.0)),
    "removed": replace(TINY, sheet=Sheet(present=False)),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--set", choices=SETS, default="tiny")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--tilts", type=float, nargs=2, help="another range, degrees")
    given = parser.parse_args()
    scene = SETS[given.set]
    if given.tilts:
        scene = replace(scene, tilt_min_deg=given.tilts[0], tilt_max_deg=given.tilts[1])
    print(json.dumps(written(given.folder, scene, given.seed)))


def written(folder, scene, seed):
    """Make a set in a folder; returns what its meta.json says.

    The files: truth, even, odd, full (their mean) and noisefree_wedge (float32), specimen (0 or 1) and labels (int8).
    """
    rng = np.random.default_rng(seed)
    truth, labels, count = specimen(scene, rng)
    measured = half(wedge_mask(scene.shape, scene.tilt_min_deg, scene.tilt_max_deg))
    signal = filtered(truth, measured)
    halves = [signal + noise for noise in _noises(scene, rng, measured, signal.std())]
    folder.mkdir(parents=True, exist_ok=True)
    files = {"truth": truth, "even": halves[0], "odd": halves[1], "noisefree_wedge": signal}
    for name, volume in (files | {"full": 0.5 * (halves[0] + halves[1])}).items():
        _write(folder / f"{name}.mrc", volume.astype(np.float32))
    _write(folder / "specimen.mrc", binary_dilation(labels > 0, iterations=4).astype(np.int8))
    _write(folder / "labels.mrc", labels.astype(np.int8))
    meta = asdict(scene) | {"seed": seed, "proteins": count, "voxel_size_A": VOXEL_SIZE_A}
    meta["sheet_contrast"] = _sheet_contrast(scene, seed)
    (folder / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")
    return meta


def specimen(scene, rng):
    """The truth (dark on 0, without a mean), its labels, and how many proteins found a place."""
    density, labels = _membranes(scene)
    count = float(np.prod(scene.shape))
    _vesicles(scene, rng, density, labels, max(2, int(count / 350000)))
    _filaments(scene, rng, density, labels, max(2, int(count / 500000)))
    placed = _proteins(scene, rng, density, labels)
    _bundles(scene, rng, density, labels)
    _beads(scene, rng, density, labels)
    below_nyquist = 1 / (1 + np.exp((radius(scene.shape, full=False) - 0.40) / 0.02))
    truth = -filtered(density, below_nyquist)
    return truth - truth.mean(), labels, placed


def wedge_mask(shape, tilt_min_deg, tilt_max_deg):
    """True where measured, in the layout of `fftn`; the same at f and -f, as for any real volume."""
    z, _, x = _frequencies(shape, full=True)
    angle_deg = np.degrees(np.arctan2(z * np.where(x < 0, -1.0, 1.0).astype(np.float32), np.abs(x)))
    kept = (angle_deg >= tilt_min_deg - 1e-4) & (angle_deg <= tilt_max_deg + 1e-4)
    # The tilt axis itself lies in every measured plane.
    kept = np.broadcast_to(kept | ((np.abs(z) < 1e-9) & (np.abs(x) < 1e-9)), shape).copy()
    # On a Nyquist plane f and -f are one voxel's, which an asymmetric range would tear apart.
    return kept & np.roll(np.flip(kept, (0, 1, 2)), (1, 1, 1), (0, 1, 2))


def radius(shape, full=True):
    """Distance from the origin of Fourier space, cycles a voxel, in the layout of `fftn` or `rfftn`."""
    z, y, x = _frequencies(shape, full)
    return np.sqrt(z**2 + y**2 + x**2)


def half(mask):
    """What `rfftn` has of a mask in the layout of `fftn`."""
    return mask[..., : mask.shape[-1] // 2 + 1]


def filtered(volume, gain):
    """A volume times a gain in Fourier space, given in the layout of `rfftn`."""
    return np.fft.irfftn(np.fft.rfftn(volume) * gain, s=volume.shape, axes=(0, 1, 2)).astype(np.float32)


def _frequencies(shape, full):
    z, y = (np.fft.fftfreq(n).astype(np.float32) for n in shape[:2])
    x = (np.fft.fftfreq if full else np.fft.rfftfreq)(shape[2]).astype(np.float32)
    return z[:, None, None], y[None, :, None], x[None, None, :]


def _noises(scene, rng, measured, signal_std):
    """The noise of each half, as strong as the mean of the two needs for the scene's SNR."""
    for _ in range(2):
        white = filtered(rng.normal(size=scene.shape).astype(np.float32), measured)
        yield 0 * white if scene.snr is None else white / white.std() * signal_std / np.sqrt(scene.snr) * np.sqrt(2)


def _sheet_contrast(scene, seed):
    """Solvent less sheet in the truth; where the sheet is absent, what it would be with it."""
    whole = replace(scene, sheet=replace(scene.sheet, present=True))
    truth, labels, _ = specimen(whole, np.random.default_rng(seed))
    return contrast(truth, labels, SHEET)


def contrast(volume, labels, label, margin=8):
    """Mean of the solvent well away from everything, less the mean of what has a label; away from the box's edges."""
    inner = tuple(slice(margin, n - margin) for n in volume.shape)
    solvent = ~binary_dilation(labels > 0, iterations=4)[inner]
    return float(volume[inner][solvent].mean() - volume[inner][labels[inner] == label].mean())


def _grid(shape):
    return np.meshgrid(*[np.arange(n, dtype=np.float32) for n in shape], indexing="ij")


def _stamp(density, labels, added, label):
    np.maximum(density, added, out=density)
    labels[(added > _LABELLED_ABOVE) & (labels == 0)] = label


def _bilayer(scene, distance):
    """Two leaflets, by the distance from the middle in voxels."""
    apart, width = scene.leaflet_distance, scene.leaflet_width
    return np.exp(-0.5 * ((distance - apart) / width) ** 2) + np.exp(-0.5 * ((distance + apart) / width) ** 2)


def _disc(u, v, size):
    return 0.5 - 0.5 * np.tanh(0.5 * (np.sqrt(u**2 + v**2) - size))


def _membranes(scene):
    """The lying sheet, which the wedge takes, and one that stands; a removed sheet keeps its label."""
    nz, ny, nx = scene.shape
    z, y, x = _grid(scene.shape)
    density, labels = np.zeros(scene.shape, np.float32), np.zeros(scene.shape, np.uint8)
    sheet = scene.sheet
    cz, cy, cx = (part * n for part, n in zip(sheet.centre, scene.shape, strict=True))
    height = cz + sheet.wave * np.sin(2 * np.pi * x / nx * 1.5) * np.cos(2 * np.pi * y / ny)
    _stamp(density, labels, _bilayer(scene, z - height) * _disc(x - cx, y - cy, sheet.radius * min(nx, ny)), SHEET)
    if not sheet.present:
        density[:] = 0
    cz, cy, cx = nz * 0.5, ny * 0.70, nx * 0.72
    bent = x - cx - 2.0 * np.sin(2 * np.pi * y / ny)
    _stamp(density, labels, _bilayer(scene, bent) * _disc(z - cz, y - cy, 0.30 * nz), UPRIGHT)
    return density, labels


def _ice(scene):
    return 0.14 * scene.shape[0], 0.86 * scene.shape[0]


def _vesicles(scene, rng, density, labels, count):
    (low, high), (_, ny, nx) = _ice(scene), scene.shape
    z, y, x = _grid(scene.shape)
    for _ in range(count):
        r = rng.uniform(0.10, 0.20) * min(scene.shape)
        cz, cy, cx = rng.uniform(low + r, high - r), rng.uniform(r + 4, ny - r - 4), rng.uniform(r + 4, nx - r - 4)
        _stamp(density, labels, _bilayer(scene, np.sqrt((z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2) - r), VESICLE)


def _filaments(scene, rng, density, labels, count):
    (low, high), (_, ny, nx) = _ice(scene), scene.shape
    z, y, x = _grid(scene.shape)
    for _ in range(count):
        point = np.array([rng.uniform(low, high), rng.uniform(0, ny), rng.uniform(0, nx)])
        along = rng.normal(size=3) * np.array([0.5, 1.0, 1.0])
        along /= np.linalg.norm(along)
        dz, dy, dx = z - point[0], y - point[1], x - point[2]
        t = dz * along[0] + dy * along[1] + dx * along[2]
        distance = np.sqrt(np.maximum(dz**2 + dy**2 + dx**2 - t**2, 0))
        inside = (np.abs(t) < 0.35 * nx) & (z > low) & (z < high)
        _stamp(density, labels, np.exp(-0.5 * (distance / 1.8) ** 2) * inside, FILAMENT)


def _proteins(scene, rng, density, labels):
    """Unions of Gaussian balls in random poses, apart from each other; returns how many found a place."""
    (low, high), (_, ny, nx), size = _ice(scene), scene.shape, scene.protein_size
    species = [rng.normal(size=(count, 3)) * spread * size for count, spread in _SPECIES]
    placed: list[np.ndarray] = []
    for _ in range(scene.proteins * 60):
        if len(placed) == scene.proteins:
            break
        kind = int(rng.integers(len(species)))
        c = np.array([rng.uniform(low + 5, high - 5), rng.uniform(9, ny - 9), rng.uniform(9, nx - 9)])
        if any(np.linalg.norm(c - other) < 15 * size for other in placed):
            continue
        placed.append(c)
        _protein(density, labels, c, species[kind] @ _random_rotation(rng).T + c, size)
    return len(placed)


def _protein(density, labels, centre, balls, size):
    reach = 18 * size
    low = np.maximum(np.floor(centre - reach).astype(int), 0)
    high = np.minimum(np.ceil(centre + reach).astype(int) + 1, density.shape)
    part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    z, y, x = (axis + np.float32(first) for axis, first in zip(_grid(high - low), low, strict=True))
    added = np.zeros_like(z)
    for ball in balls:
        squared = (z - ball[0]) ** 2 + (y - ball[1]) ** 2 + (x - ball[2]) ** 2
        added += np.exp(-0.5 * squared / (1.5 * size) ** 2)
    added = np.minimum(added, 1.6) / 1.6
    density[part] = np.maximum(density[part], added * 1.1)
    inside = labels[part]
    inside[(added > _LABELLED_ABOVE) & (inside == 0)] = PROTEIN


def _bundles(scene, rng, density, labels):
    """Round bundles of parallel rods, eight voxels apart, in any direction: what nobody's cells are full of."""
    (low, high), (_, ny, nx) = _ice(scene), scene.shape
    z, y, x = _grid(scene.shape)
    for _ in range(scene.bundles):
        centre = (rng.uniform(low + 6, high - 6), rng.uniform(0, ny), rng.uniform(0, nx))
        rotation, size = _random_rotation(rng), rng.uniform(9, 16)
        offset = [
            z - centre[0],
            *((axis - c + n / 2) % n - n / 2 for axis, c, n in zip((y, x), centre[1:], (ny, nx), strict=True)),
        ]
        u, v, w = (sum(part * axis for part, axis in zip(row, offset, strict=True)) for row in rotation)
        rods = np.exp(2 * (np.cos(2 * np.pi * u / 8) + np.cos(2 * np.pi * v / 8) - 2))
        inside = 0.5 - 0.5 * np.tanh(0.75 * (np.sqrt(u**2 + v**2 + w**2) - size))
        _stamp(density, labels, (1.1 * rods * inside).astype(np.float32), PROTEIN)


def _beads(scene, rng, density, labels):
    """Balls of gold, six times as dense as anything else."""
    (low, high), (_, ny, nx) = _ice(scene), scene.shape
    z, y, x = _grid(scene.shape)
    for _ in range(scene.beads):
        cz, cy, cx = rng.uniform(low + 6, high - 6), rng.uniform(8, ny - 8), rng.uniform(8, nx - 8)
        distance = np.sqrt((z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2)
        _stamp(density, labels, (3 - 3 * np.tanh(distance - 4.0)).astype(np.float32), PROTEIN)


def _random_rotation(rng):
    w, x, y, z = (q := rng.normal(size=4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _write(path, volume):
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(np.ascontiguousarray(volume))
        file.voxel_size = VOXEL_SIZE_A


if __name__ == "__main__":
    main()
