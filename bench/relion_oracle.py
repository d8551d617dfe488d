"""An external reconstruction that knows the truth: what a refinement would gain from a perfect network.

Called as RELION calls the hook. It decides as the bridge does whether a correction is due, and then fills the standard
map with the truth in the place of the network's map; the truth is the map that CRYOBRIDGE_BENCH_TRUTH names.
"""

from __future__ import annotations

import math
import os
import re
import sys
from pathlib import Path

import mrcfile
import numpy as np
import torch

from cryobridge.bridge.worker.calls.due import decide
from cryobridge.core.correction import fill
from cryobridge.core.fourier import apply_filter, lowpass, resolution, within_limit
from cryobridge.core.relion import reconstruct, wiener_gain
from cryobridge.schemas.relion import resolve_options
from cryobridge.wrappers.relion.jobdir import RefinementFacts, refinement_facts
from cryobridge.wrappers.relion.sums import Sums, read_description, read_sums

TRUTH = "CRYOBRIDGE_BENCH_TRUTH"
_NAME = re.compile(r"(.*)_it(\d+)(?:_half([12]))?_class001_external_reconstruct\.star$")


def main(star: str) -> None:
    """Answer one call."""
    torch.set_num_threads(1)
    name = _NAME.match(star)
    if name is None:
        sys.exit(f"{star}: not the name of a call")
    root, iteration, half = name[1], int(name[2]), int(name[3] or 0)
    base = star.removesuffix(".star")
    sums = _sums(star, base)
    facts = _facts(root, iteration, half)
    volume = reconstruct(
        sums.data,
        sums.weight,
        sums.description.geometry,
        sums.description.tau2,
        fudge=sums.description.fudge,
        style=sums.description.style,
    )
    pixel_A = sums.description.pixel_size_A or facts.pixel_size_A
    if pixel_A is None:
        sys.exit(f"{star}: the pixel size is unknown")
    fsc = torch.from_numpy(sums.description.fsc)
    reached_A = resolution(fsc, pixel_A, 0.143, box=volume.shape[0])
    options, _ = resolve_options(os.environ, facts.command_line)
    due = decide(
        options, facts, half=half, iteration=iteration, resolution_A=None if math.isinf(reached_A) else reached_A
    )
    if due.due:
        volume = _filled(volume, sums, pixel_A, reached_A, facts, options.prior_variance)
    with mrcfile.new(f"{base}.mrc", overwrite=True) as file:
        file.set_data(volume.numpy().astype(np.float32))
        file.voxel_size = pixel_A
    what = "corrected" if due.due else "standard"
    place = f"it{iteration:03d}{f' half{half}' if half else ''} class001"
    sys.stdout.write(f"cryobridge: {what} map of the oracle: {due.line} [{place}]\n")
    for part in ("data_real", "data_imag", "weight"):
        Path(f"{base}_{part}.mrc").unlink()


def _sums(star: str, base: str) -> Sums:
    descriptors = [os.open(star, os.O_RDONLY)]
    descriptors += [os.open(f"{base}_{part}.mrc", os.O_RDONLY) for part in ("data_real", "data_imag", "weight")]
    try:
        description = read_description(descriptors[0], name=star)
        return read_sums(description, *descriptors[1:])
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _facts(root: str, iteration: int, half: int) -> RefinementFacts:
    before = f"{root}_it{iteration - 1:03d}"
    paths = {
        "optimiser_start": f"{root}_it000_optimiser.star",
        "optimiser": f"{before}_optimiser.star",
        "sampling": f"{before}_sampling.star",
        "model": f"{before}_half{half or 1}_model.star",
    }
    return refinement_facts(**{key: Path(path).read_text() for key, path in paths.items() if Path(path).exists()})


def _filled(
    standard: torch.Tensor,
    sums: Sums,
    pixel_A: float,
    limit_A: float,
    facts: RefinementFacts,
    prior_variance: float,
) -> torch.Tensor:
    truth = torch.from_numpy(mrcfile.read(os.environ[TRUTH]).astype(np.float32))
    mask = None if facts.solvent_mask is None else torch.from_numpy(mrcfile.read(facts.solvent_mask).copy())
    description = sums.description
    gain = wiener_gain(sums.weight, description.geometry, description.tau2, fudge=description.fudge)
    known = lowpass(truth, pixel_A, limit_A)
    result = fill(standard, known, gain, mask, prior_variance=prior_variance)
    within = within_limit(standard.shape[0], pixel_A, limit_A)
    return standard + apply_filter(result - standard, within)


if __name__ == "__main__":
    main(sys.argv[1])
