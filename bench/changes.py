"""What each choice of `map.correct` brings: the correction as it comes, and with one choice undone at a time.

    python bench/changes.py CASE [CASE ...] [--seeds 1 2 3] [--network FILE] [--only TEXT] [--untrained]

A case is a folder that `pairs.read_pair` reads. Scores as in `correct.py`, of the mean of the two corrected half-maps;
CPU seconds are those of training and predicting alone, on one thread. Rows without a training have no seed. "No
network" is the Wiener filter alone: what the data say by themselves.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pairs import Pair, read_pair
from scores import scores

from cryobridge.bridge.worker.jobs.pretrained import OURS, StoredNetwork, read_network
from cryobridge.core.correction import (
    CorrectionState,
    Finish,
    Plan,
    ReadyPair,
    finished,
    gain_from_fsc,
    predict_steps,
    prepare,
    trainer_of,
)
from cryobridge.core.directional import fsc3d
from cryobridge.core.fourier import fsc
from cryobridge.core.training import TrainingRecord
from cryobridge.schemas.kinds.map.correct import CorrectOptions

SHOWN = ("all", "cone", "rest", "CC")


@dataclass(frozen=True)
class Variant:
    """One way to correct: options of the job, and what differs in preparing and in putting together."""

    label: str
    options: dict[str, Any]
    plan: dict[str, Any] = field(default_factory=dict)
    finish: dict[str, Any] = field(default_factory=dict)
    by_fsc: bool = False
    network: bool = True


QUICK, STANDARD, CAREFUL = ({"effort": effort} for effort in ("quick", "standard", "careful"))
ANEW = {"start": "anew", "cube_size": 32, "crop_size": 64, "learning_rate": 3e-3, "free_rotations": 0.0}
VARIANTS = (
    Variant("no network", QUICK, network=False),
    Variant("untouched, as it comes (quick)", QUICK),
    Variant("- scale from the own half (2)", QUICK, finish={"apart": True}),
    Variant("- weight from the 3DFSC (6)", QUICK, by_fsc=True),
    *(Variant(f"- prior variance {value} (7)", QUICK, finish={"prior_variance": value}) for value in (0.05, 0.5, 1.0)),
    *(Variant(f"- limit at {value} of Nyquist (8)", QUICK, plan={"limit_of_nyquist": value}) for value in (0.95, 0.85)),
    Variant("- not cropped (8)", QUICK, plan={"limit_of_nyquist": 0.01}),
    Variant("- halves kept independent", {**QUICK, "independent": True}, {"apart": True}, {"apart": True}),
    Variant("trained, as it comes (standard)", STANDARD),
    Variant("- limit at 0.95 of Nyquist (8)", STANDARD, plan={"limit_of_nyquist": 0.95}),
    Variant("- from nothing, 60 steps (10)", {**ANEW, "steps": 60, "average_turns": 4}),
    Variant("- from nothing, 200 steps (10)", {**ANEW, "steps": 200, "average_turns": 4}),
    Variant(
        "- a network for each half", {**STANDARD, "independent": True}, plan={"apart": True}, finish={"apart": True}
    ),
    Variant("trained longer (careful)", CAREFUL),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+", type=Path, help="folders of pairs whose truth is known")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--network", type=Path, default=OURS, help="the network to start from")
    parser.add_argument("--only", default="", help="rows whose label has this in it")
    parser.add_argument("--untrained", action="store_true", help="only rows without a training")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network = read_network(arguments.network)
    for folder in arguments.cases:
        pair = read_pair(folder)
        print(f"\n| {pair.name} | runs | {' | '.join(SHOWN)} | CPU s |\n|---|{'---:|' * (len(SHOWN) + 2)}", flush=True)
        _print_row("half-maps as given", [(scores(pair, (pair.half1 + pair.half2) / 2), 0.0)])
        for variant in _chosen(arguments):
            _print_row(variant.label, list(_runs(variant, pair, network, arguments.seeds)))


def _chosen(arguments: argparse.Namespace) -> Iterable[Variant]:
    for variant in VARIANTS:
        trains = variant.options.get("effort") != "quick"
        if arguments.only in variant.label and not (arguments.untrained and trains):
            yield variant


def _runs(
    variant: Variant, pair: Pair, network: StoredNetwork, seeds: list[int]
) -> Iterator[tuple[dict[str, float], float]]:
    ready, finish = _prepared(variant, pair)
    for seed in seeds[:1] if variant.options.get("effort") == "quick" else seeds:
        started = time.process_time()
        maps = _network_maps(variant, ready, network, seed) if variant.network else ready.standards
        seconds = time.process_time() - started
        halves = maps
        if variant.network:
            halves = finished(ready, 1, maps[0], finish), finished(ready, 2, maps[1], finish)
        yield scores(pair, (halves[0] + halves[1]) / 2), seconds


def _prepared(variant: Variant, pair: Pair) -> tuple[ReadyPair, Finish]:
    given = None
    if variant.by_fsc:
        given = gain_from_fsc(fsc3d(pair.half1, pair.half2, pair.mask, limit_shell=pair.limit_shell))
    plan = Plan(**{"limit_A": pair.limit_A, "level": True, "given_fraction": given, **variant.plan})
    ready = prepare((pair.half1, pair.half2), pair.mask, pair.voxel_size_A, plan)
    whole = {
        "prior_variance": CorrectOptions().prior_variance,
        "keep_beyond": True,
        "halves_fsc": fsc(pair.half1, pair.half2, pair.mask),
        **variant.finish,
    }
    return ready, Finish(**whole)


def _network_maps(
    variant: Variant, ready: ReadyPair, network: StoredNetwork, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    options = CorrectOptions.model_validate({**variant.options, "seed": seed}).network_options("cpu")
    anew = variant.options.get("start") == "anew"
    state = CorrectionState.new(options, "cpu") if anew else network.started(options, "cpu")
    if options.total_steps(warm=False):
        for _ in trainer_of(state, ready.sight, options, record=TrainingRecord()).run():
            pass
    first, second = (
        list(predict_steps(state, half, ready.sight.starts[half - 1], ready.sight, options))[-1] for half in (1, 2)
    )
    assert first is not None and second is not None  # noqa: PT018 - maps come last
    return first, second


def _print_row(label: str, runs: list[tuple[dict[str, float], float]]) -> None:
    cells = []
    for name in SHOWN:
        values = [found[name] for found, _ in runs]
        spread = "" if len(values) == 1 else f" ({min(values):.3f}–{max(values):.3f})"
        cells.append(f"{statistics.mean(values):.3f}{spread}")
    seconds = statistics.mean(cost for _, cost in runs)
    print(f"| {label} | {len(runs)} | {' | '.join(cells)} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
