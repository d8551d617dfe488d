"""One network, or one for each half, trained on a prepared pair of half-maps and run over both.

RELION's iteration, `map.correct` and the hold-out test of `map.diagnose` all train and predict here; what they do
between two steps is their own.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

from torch import Tensor

from cryobridge.core.correction import CorrectionState, Finish, ReadyPair, Sight, finished, predict_steps, trainer_of
from cryobridge.core.training import ALONE, Parking, Ranks, StepReport, TrainingRecord
from cryobridge.schemas.correction import CorrectionOptions
from cryobridge.schemas.errors import BadResult


def trained(
    state: CorrectionState,
    ready: ReadyPair,
    options: CorrectionOptions,
    record: TrainingRecord,
    parking: Parking,
    ranks: Ranks = ALONE,
    advice: str = "",
) -> Iterator[StepReport]:
    """Train in place, one step for each value drawn; between two of them it may be parked.

    `advice` ends the sentence of an error.

    Raises
    ------
    BadResult
        If the loss stops being finite, or there is nothing to learn from.
    """
    try:
        trainer = trainer_of(state, ready.sight, options, record=record, ranks=ranks)
        with parking.holding(trainer.held):
            yield from trainer.run()
    except ValueError as error:
        raise BadResult(f"training failed: {error}{advice}") from error


def predicted(
    state: CorrectionState,
    which_half: int,
    volume: Tensor,
    sight: Sight,
    options: CorrectionOptions,
    parking: Parking,
) -> Generator[None, None, Tensor]:
    """The network's map (n, n, n) of half 1 or 2 from what it sees of it; may be parked where it yields.

    Parameters
    ----------
    state, which_half, volume, sight, options
        See `core.correction.predict`.
    parking
        Where what is kept between two batches of tiles is named; the state is its owner's to name.

    Raises
    ------
    BadResult
        If it ends without a map.
    """
    result: Tensor | None = None
    held = list[Tensor]()
    with parking.holding(lambda: held):
        for step in predict_steps(state, which_half, volume, sight, options, held):
            result = step
            if step is None:
                yield None
    if result is None:
        raise BadResult("the prediction ended without a map")
    return result


def usable(ready: ReadyPair, which_half: int, network_map: Tensor, how: Finish, what: str) -> Tensor:
    """The corrected map (n, n, n) of a half, on the host.

    Raises
    ------
    BadResult
        If it is not finite or not on scale; `what` names the map.
    """
    try:
        return finished(ready, which_half, network_map, how)
    except ValueError as error:
        raise BadResult(f"{what} of half {which_half} is not usable: {error}") from error
