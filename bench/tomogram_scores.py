"""How near a corrected tomogram is to the truth of `tomogram_scene.py`, on any scale and offset.

    python bench/tomogram_scores.py SET TOMOGRAM...

cc            correlation in real space, away from the box's edges; cc_spec: inside the specimen
fsc_*         mean Fourier shell correlation with the truth from .02 to .25 cycles a voxel: all, measured, missing wedge
res_mw        frequency at which the wedge's first falls under .5 (0: never above)
fill          amplitude in the wedge over the truth's, where the measured amplitudes are made equal
horiz, vert   contrast of the lying and of the standing membrane over the truth's, at those same amplitudes
iso           horiz / vert; the input has .24 or less, the truth 1
"""

import argparse
import json
from pathlib import Path

import mrcfile
import numpy as np
from tomogram_scene import SHEET, UPRIGHT, contrast, radius, wedge_mask

COLUMNS = ("cc", "cc_spec", "fsc_all", "fsc_meas", "fsc_mw", "res_mw", "fill", "horiz", "vert", "iso")
_SHELLS = 33
"""Shell k holds k/64 cycles a voxel and what is above it, up to the next."""
_LOW, _HIGH = 0.02, 0.25


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path)
    parser.add_argument("tomograms", type=Path, nargs="+")
    given = parser.parse_args()
    print("".join(name.rjust(10) for name in COLUMNS))
    for path in given.tomograms:
        found = scores(given.set, path)
        print("".join(f"{found[name]:10.3f}" for name in COLUMNS), path)


def scores(folder, path, margin=8):
    """Every score of a tomogram (z, y, x) of the set in a folder; `nonfinite` counts the voxels that are no numbers.

    The scenes are periodic, so nothing is tapered; a taper would carry what was measured into the wedge. In the set
    whose sheet was removed, `horiz` is over the contrast that the sheet would have. Raises ``SystemExit`` where the
    box is another.
    """
    meta = json.loads((folder / "meta.json").read_text())
    truth, estimate = _read(folder / "truth.mrc"), _read(path)
    if estimate.shape != truth.shape:
        raise SystemExit(f"{path}: its box is {estimate.shape}, the truth's {truth.shape}")
    nonfinite = int((~np.isfinite(estimate)).sum())
    estimate = np.nan_to_num(estimate)
    labels = _read(folder / "labels.mrc").astype(int)
    inner = tuple(slice(margin, n - margin) for n in truth.shape)
    inside = _read(folder / "specimen.mrc")[inner] > 0
    found = {"nonfinite": nonfinite, "cc": _pearson(truth[inner], estimate[inner])}
    found["cc_spec"] = _pearson(truth[inner][inside], estimate[inner][inside])
    ft, fe = (np.fft.fftn(volume - volume[inner].mean()) for volume in (truth, estimate))
    measured = wedge_mask(truth.shape, meta["tilt_min_deg"], meta["tilt_max_deg"])
    found |= _by_region(ft, fe, measured)
    r = radius(truth.shape)
    band = (r > _LOW) & (r < _HIGH)
    gain = _amplitude(ft, band & measured) / _amplitude(fe, band & measured)
    found["fill"] = gain * _amplitude(fe, band & ~measured) / _amplitude(ft, band & ~measured)
    found["horiz"] = gain * contrast(estimate, labels, SHEET, margin) / meta["sheet_contrast"]
    found["vert"] = gain * contrast(estimate, labels, UPRIGHT, margin) / contrast(truth, labels, UPRIGHT, margin)
    found["iso"] = found["horiz"] / found["vert"] if abs(found["vert"]) > 1e-6 else float("nan")
    return found


def _by_region(ft, fe, measured):
    """Mean FSC over all, over what was measured and over the wedge, and where the wedge's falls under one half."""
    r = radius(ft.shape)
    inside = (r > 0) & (r <= 0.5)
    middle = (np.arange(_SHELLS + 1) + 0.5) / (2 * (_SHELLS - 1))
    # A shell with next to nothing in it agrees with the truth by chance of rounding only.
    empty = 1e-4 * _amplitude(fe, inside) / _amplitude(ft, inside)
    found = {}
    for name, region in (("all", inside), ("meas", inside & measured), ("mw", inside & ~measured)):
        curve, counts = _shell_fsc(ft[region], fe[region], r[region], empty)
        band = (middle > _LOW) & (middle < _HIGH) & (counts > 20)
        found[f"fsc_{name}"] = float(curve[band].mean()) if band.any() else float("nan")
    below = np.flatnonzero(band & (curve < 0.5))
    above = np.flatnonzero(band & (np.arange(_SHELLS + 1) < (below[0] if below.size else _SHELLS + 1)))
    return found | {"res_mw": float(middle[above[-1]]) if above.size else 0.0}


def _shell_fsc(ft, fe, r, empty):
    shell = np.minimum((r * 2 * (_SHELLS - 1)).astype(int), _SHELLS)
    cross, one, two = (
        np.bincount(shell, values, _SHELLS + 1) for values in ((ft * fe.conj()).real, np.abs(ft) ** 2, np.abs(fe) ** 2)
    )
    curve = cross / (np.sqrt(one * two) + 1e-30)
    curve[np.sqrt(two / (one + 1e-30)) < empty] = 0.0
    return curve, np.bincount(shell, minlength=_SHELLS + 1)


def _amplitude(transform, region):
    return float(np.sqrt((np.abs(transform[region]) ** 2).sum()) + 1e-15)


def _pearson(a, b):
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (np.sqrt((a * a).sum() * (b * b).sum()) + 1e-30))


def _read(path):
    with mrcfile.open(path, permissive=True) as file:
        return np.array(file.data, dtype=np.float32)


if __name__ == "__main__":
    main()
