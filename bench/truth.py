"""FSC to a known truth before and after the correction: published loss and ours, published map and fill.

    python bench/truth.py                              simulated pairs made here, several seeds
    python bench/truth.py --shared ../shared/data      the simulated pairs of the shared data folder too
    python bench/truth.py --device cuda                the sizes of the published method, on a GPU

Every line is the mean of both halves. "cone" is where views are missing, "rest" is everything else; the score is the
mean FSC to the truth inside the mask from 12 A to the pair's resolution.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mrcfile
import torch

from cryobridge.core.correction import CorrectionState, predict, train
from cryobridge.core.correction.posterior import fill
from cryobridge.core.fourier.filters import fsc_weight
from cryobridge.core.fourier.shells import expand, radial_mean
from cryobridge.core.fourier.transforms import forward
from cryobridge.core.volume.phantom import PhantomPair, cone_regions, phantom_pair, truth_score
from cryobridge.schemas.correction import CorrectionOptions

REGIONS = ("all", "cone", "rest")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, help="folder that holds sim_halfmaps")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--box", type=int, default=48)
    parser.add_argument("--option", action="append", default=[], help="key=value of the correction, e.g. steps=300")
    parser.add_argument("--losses", nargs="+", default=["improved", "published"])
    parser.add_argument("--modes", nargs="+", default=["shared", "independent"])
    parser.add_argument("--no-phantom", action="store_true")
    arguments = parser.parse_args()
    chosen = {
        key: json.loads(value) if value[:1] not in "abcdefghijklmnopqrstuvwxyz" else value
        for key, value in (item.split("=", 1) for item in arguments.option)
    }
    print("| pair | seed | loss | mode | map | " + " | ".join(REGIONS) + " | loss first / last tenth | s |")
    print("|---|---|---|---|---|" + "---|" * (len(REGIONS) + 2))
    for name, seed, pair in _pairs(arguments):
        _row(name, seed, "-", "-", "standard", pair, [pair.standard1, pair.standard2])
        for loss in arguments.losses:
            for mode in arguments.modes:
                make = CorrectionOptions.published if loss == "published" else CorrectionOptions.for_device
                options = make(arguments.device, **{"mode": mode, "seed": seed, **chosen})
                _correct(name, seed, pair, options, arguments.device)


def _pairs(arguments: argparse.Namespace) -> Iterator[tuple[str, int, PhantomPair]]:
    if not arguments.no_phantom:
        for seed in arguments.seeds:
            yield "cone 2 %", seed, phantom_pair(arguments.box, seed=100 + seed)
        yield "isotropic", 0, phantom_pair(arguments.box, seed=100, inside=1.0)
    if arguments.shared is not None:
        for folder in sorted((arguments.shared / "sim_halfmaps").iterdir()):
            for seed in arguments.seeds:
                yield folder.name, seed, _shared_pair(folder)


def _shared_pair(folder: Path) -> PhantomPair:
    """A stored pair; the gain comes from its sampling weight and its halves' own FSC."""
    known = json.loads((folder / "params.json").read_text())
    truth, mask, half1, half2, weight = (
        _read(folder / f"{name}.mrc.gz") for name in ("truth", "mask", "half1", "half2", "weight")
    )
    n = truth.shape[-1]
    density = torch.fft.ifftshift(weight)[:, :, : n // 2 + 1].clamp(min=1e-6)
    signal, noise = (
        radial_mean(forward(v * mask).abs().square(), n) for v in ((half1 + half2) / 2, (half1 - half2) / 2**0.5)
    )
    ratio = expand(((signal - noise / 2).clamp(min=0) / noise.clamp(min=1e-30)).float(), n)
    mean_density = expand(radial_mean(density, n).float(), n).clamp(min=1e-6)
    ratio = ratio * density / mean_density
    view = known["target_resolution_A"]
    return PhantomPair(known["pixel_A"], view, 40.0, truth, mask, half1, half2, density, ratio / (1 + ratio))


def _read(path: Path) -> torch.Tensor:
    with mrcfile.open(path) as volume:
        return torch.from_numpy(volume.data.astype("float32").copy())


def _correct(name: str, seed: int, pair: PhantomPair, options: CorrectionOptions, device: str) -> None:
    halves = [pair.half1, pair.half2]
    if options.loss == "published":
        # As the published wrapper does: radial weighting by the 3DFSC before anything else.
        halves = [fsc_weight(half, pair.gain) for half in halves]
    state = CorrectionState.new(options, device)
    started = time.monotonic()
    losses = [report.loss for report in train(state, *halves, pair.gain, pair.mask, options)]
    networks = [predict(state, i + 1, half, pair.gain, pair.mask, options).cpu() for i, half in enumerate(halves)]
    seconds = time.monotonic() - started
    tenth = max(1, len(losses) // 10)
    note = f"{sum(losses[:tenth]) / tenth:.3f} / {sum(losses[-tenth:]) / tenth:.3f} | {seconds:.0f}"
    _row(name, seed, options.loss, options.mode, "network", pair, networks, note)
    filled = [fill(s, v, pair.gain, pair.mask) for s, v in zip((pair.standard1, pair.standard2), networks, strict=True)]
    _row(name, seed, options.loss, options.mode, "fill", pair, filled, note)


def _row(
    name: str, seed: int, loss: str, mode: str, kind: str, pair: PhantomPair, maps: list[Any], note: str = "- | -"
) -> None:
    inside, outside = cone_regions(pair)
    scores = [
        sum(truth_score(pair, volume, region) for volume in maps) / len(maps) for region in (None, inside, outside)
    ]
    print(
        f"| {name} | {seed} | {loss} | {mode} | {kind} | " + " | ".join(f"{s:.3f}" for s in scores) + f" | {note} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
