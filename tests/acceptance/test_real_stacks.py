"""Stacks of others, end to end from commands: tilt images of two classes, and cryoDRGN's toy stack."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cryobridge.wrappers.formats import mrc

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

PATIENCE_S = 900


def unpacked(source: Path, target: Path) -> None:
    """A file out of its gzip, as users have it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(gzip.decompress(source.read_bytes()))


def run(folder: Path, *words: str) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("cryobridge")), *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def separation(classes: Sequence[int], values: Sequence[float]) -> float:
    """AUC of a value whose sign means nothing."""
    found = float(roc_auc_score(classes, values))
    return max(found, 1 - found)


@pytest.mark.timeout(2 * PATIENCE_S)
def test_two_classes_of_tilt_images_are_told_apart(
    shared: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """tomoDRGN's simulated images of two real assembly intermediates (EMPIAR-10076), 8 or 10 tilts a particle."""
    source = shared / "data" / "heterogeneity" / "tomodrgn_10076"
    for name in ("10076_classD_32_sim.mrcs", "10076_classE_32_sim.mrcs"):
        unpacked(source / f"{name}.gz", tmp_path / "data" / name)
    unpacked(source / "10076_both_32_sim.star.gz", tmp_path / "both.star")
    run(tmp_path, "vae", "linear", "both.star", "--apix", "13.1", "-o", "linear")
    rows = [line.split() for line in (tmp_path / "both.star").read_text().splitlines() if "@" in line]
    with np.load(tmp_path / "linear" / "latents.npz") as found:
        first = found["z"][:, 0]
    assert len(first) == len(rows)
    of_image = [int("classE" in row[0]) for row in rows]
    found_auc = {"images": separation(of_image, first)}
    particles = [(which, row[-1]) for which, row in zip(of_image, rows, strict=True)]
    known = sorted(set(particles))
    means = [
        np.mean([value for one, value in zip(particles, first, strict=True) if one == particle]) for particle in known
    ]
    found_auc["particles"] = separation([which for which, _ in known], means)
    for name, value in found_auc.items():
        record_property(f"auc_of_{name}", round(value, 3))
    # 0.77 for one image, 0.94 for all images of a particle.
    assert found_auc["images"] > 0.72
    assert found_auc["particles"] > 0.9
    # The selection keeps the table of the program that it came from.
    run(tmp_path, "vae", "select", "--run", "linear", "--where", "z1 > 0", "-o", "selected")
    kept = [line for line in (tmp_path / "selected" / "selected.star").read_text().splitlines() if "@" in line]
    assert len(kept) == int((first > 0).sum())


@pytest.mark.timeout(PATIENCE_S)
def test_the_toy_stack_gives_the_toy_model_back(shared: Path, tmp_path: Path) -> None:
    """cryoDRGN's toy: 1000 projections without noise, poses in a pickle of one array."""
    source = shared / "data" / "heterogeneity" / "cryodrgn_toy"
    for name in ("toy_projections.mrcs", "toy_projections.star", "toy_angles.pkl", "toymodel_small_nocenter.mrc"):
        unpacked(source / f"{name}.gz", tmp_path / name)
    words = ("toy_projections.star", "--poses", "toy_angles.pkl", "--apix", "6", "-o", "backprojected")
    run(tmp_path, "particles", "backproject", *words)
    found = mrc.read(tmp_path / "backprojected" / "backproject.mrc")[0]
    model = mrc.read(tmp_path / "toymodel_small_nocenter.mrc")[0]
    assert np.corrcoef(found.ravel(), model.ravel())[0, 1] > 0.95
    # Its training, as the README of cryoDRGN has it, with a network of a hundredth of the size.
    network = ("--qdim", "32", "--qlayers", "1", "--pdim", "64", "--players", "2", "--num-epochs", "3", "--lr", "2e-3")
    given = ("toy_projections.star", "--poses", "toy_angles.pkl", "--apix", "6", "--zdim", "1")
    run(tmp_path, "vae", "train", *given, "--method", "published", *network, "-o", "trained")
    run(tmp_path, "vae", "volumes", "trained", "--z", "0", "-o", "volumes")
    learned = mrc.read(tmp_path / "volumes" / "vol_001.mrc")[0]
    assert np.corrcoef(learned.ravel(), model.ravel())[0, 1] > 0.7
