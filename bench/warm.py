"""A second iteration that goes on from the first one's network, against one that starts anew.

    python bench/warm.py [--device cuda] [--steps 60] [--box 48]

Both train the same number of steps on the same new pair of halves (same structure, somewhat better data). The warm
state goes through its stored tensors, as after a restart of the daemon.
"""

from __future__ import annotations

import argparse
import time

import torch

from cryobridge.core.correction import CorrectionState, predict, train
from cryobridge.core.correction.posterior import fill
from cryobridge.core.volume.phantom import PhantomPair, cone_regions, phantom_pair, truth_score
from cryobridge.schemas.correction import CorrectionOptions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--box", type=int, default=48)
    arguments = parser.parse_args()
    options = CorrectionOptions.for_device(arguments.device, steps=arguments.steps, warm_steps=arguments.steps)
    started = time.monotonic()
    state = CorrectionState.new(options, arguments.device)
    earlier = phantom_pair(arguments.box, resolution_A=6.0)
    _iteration("first iteration, cold", state, earlier, options, time.monotonic() - started)
    later = phantom_pair(arguments.box, resolution_A=5.5)
    stored = state.tensors()
    started = time.monotonic()
    warm = CorrectionState.from_tensors(stored, options, arguments.device)
    seconds = _iteration("second iteration, warm", warm, later, options, time.monotonic() - started)
    started = time.monotonic()
    cold = CorrectionState.new(options, arguments.device)
    cold_seconds = _iteration("second iteration, cold", cold, later, options, time.monotonic() - started)
    size = sum(value.numel() * value.element_size() for value in stored.values())
    print(
        f"warm / cold seconds at {arguments.steps} steps: {seconds / cold_seconds:.2f}; "
        f"stored state {size / 2**20:.1f} MiB"
    )


def _iteration(
    name: str, state: CorrectionState, pair: PhantomPair, options: CorrectionOptions, ready_s: float
) -> float:
    started = time.monotonic()
    losses = [report.loss for report in train(state, pair.half1, pair.half2, pair.gain, pair.mask, options)]
    if state.device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.monotonic() - started
    inside, outside = cone_regions(pair)
    filled = fill(
        pair.standard1, predict(state, 1, pair.half1, pair.gain, pair.mask, options).cpu(), pair.gain, pair.mask
    )
    few = max(1, len(losses) // 10)
    print(
        f"{name}: ready in {ready_s:.2f} s, {len(losses)} steps in {seconds:.1f} s, "
        f"loss {sum(losses[:few]) / few:.3f} -> {sum(losses[-few:]) / few:.3f}, FSC to truth "
        f"cone {truth_score(pair, pair.standard1, inside):.3f} -> {truth_score(pair, filled, inside):.3f}, "
        f"rest {truth_score(pair, pair.standard1, outside):.3f} -> {truth_score(pair, filled, outside):.3f}",
        flush=True,
    )
    return ready_s + seconds


if __name__ == "__main__":
    main()
