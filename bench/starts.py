"""Starts of the published method and of cryoDRGN on the same images: how soon latents find what moves, by seed.

    python bench/starts.py WORK --set conf1d_2 --peer FOLDER [--seeds 4 5 6] [--peer-seeds 4 5]

WORK is that of `heterogeneity.py`, whose data and settings are used. Latents are scored after every epoch. An encoder
is told no poses, so its first component may hold the motion times a function of the view: of the first component's
variance the table gives the share that the motion tells alone, and the share that it tells where its amount and sign
may differ with the view.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from heterogeneity import EPOCHS, ours, peer, result_of
from latent_scores import of_latents
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import cross_val_predict

from cryobridge.wrappers.formats.array_file import read_arrays
from cryobridge.wrappers.formats.pickled_arrays import read_pickled

SCORE = "t, 20 neighbours"
DEGREE = 6
"""Of the polynomial in the direction of view."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--set", default="conf1d_2", help="folder in WORK whose images are used")
    parser.add_argument("--peer", type=Path, help="folder of its programs")
    parser.add_argument("--seeds", type=int, nargs="*", default=[4, 5, 6], help="of ours")
    parser.add_argument("--peer-seeds", type=int, nargs="*", default=[], help="of cryoDRGN")
    given = parser.parse_args()
    images = (given.work / given.set).resolve()
    runs = [("published", seed) for seed in given.seeds] + [("peer", seed) for seed in given.peer_seeds]
    print("| method | seed | latents by epoch | difference | by the motion | by motion and view |")
    print("|---|---:|---|---:|---:|---:|")
    for method, seed in runs:
        folder = start_of(images, seed)
        run = partial(peer, folder, given.peer, seed) if method == "peer" else partial(ours, folder, method, seed)
        difference = result_of(folder, method, run)["volumes"]["difference from the mean"]
        truth = dict(np.load(folder / "data" / "truth.npz"))
        epochs = [latents_of(folder, method, epoch) for epoch in range(1, EPOCHS + 1)]
        course = ", ".join(f"{of_latents(z, truth)[SCORE]:.2f}" for z in epochs)
        alone, by_view = told(epochs[-1], truth)
        print(f"| {method} | {seed} | {course} | {difference:.3f} | {alone:.2f} | {by_view:.2f} |", flush=True)


def start_of(images, seed):
    """A folder for runs from this seed on the images of another."""
    folder = images.with_name(f"{images.name}_start_{seed}")
    folder.mkdir(exist_ok=True)
    if not (folder / "data").exists():
        (folder / "data").symlink_to(images / "data")
    return folder


def latents_of(folder, method, epoch):
    """Those (N, d) after an epoch, counted from 1."""
    if method == "peer":
        return read_pickled(folder / "peer" / "train" / f"z.{epoch}.pkl")[0]
    return read_arrays(folder / method / "run" / f"latents_epoch_{epoch}.npz")["z"]


def told(z, truth):
    """Shares of the variance of the first component that t tells alone, and times a function of the view; 5-fold."""
    first, t = PCA(1).fit_transform(z)[:, 0], truth["t"] - truth["t"].mean()
    rot, tilt = np.deg2rad(truth["angles"][:, 0]), np.deg2rad(truth["angles"][:, 1])
    x, y, z = np.cos(rot) * np.sin(tilt), np.sin(rot) * np.sin(tilt), np.cos(tilt)
    powers = [
        (a, b, c) for a in range(DEGREE + 1) for b in range(DEGREE + 1 - a) for c in (0, 1) if a + b + c <= DEGREE
    ]
    views = np.stack([x**a * y**b * z**c for a, b, c in powers], axis=1)
    return share(t[:, None] ** np.arange(1, 4), first), share(views * t[:, None], first)


def share(features, target):
    found = cross_val_predict(RidgeCV(np.logspace(-6, 1, 8)), features, target, cv=5)
    return 1 - ((target - found) ** 2).sum() / ((target - target.mean()) ** 2).sum()


if __name__ == "__main__":
    main()
