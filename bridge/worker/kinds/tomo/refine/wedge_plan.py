"""How a network is trained straight from tomograms, with the defaults of the method and of the device."""

from __future__ import annotations

from cryobridge.schemas.kinds.tomo.refine import Method, TomoRefineOptions
from cryobridge.schemas.wedge import KEPT_OUT_CUBES, WedgeOptions

_MW_WEIGHTS: dict[Method, float] = {"isonet2": 4.0, "n2n": 1.0, "n2n-mw": 20.0}
_STEPS_PER_EPOCH = {"cpu": 40, "cuda": 300}
_BASE_WIDTH = {"cpu": 8, "cuda": 32}
_CUBE, SMALLEST_CUBE, _LARGEST_CUBE = 32, 16, 256
_BATCH, _RATE, _RATE_OF_TRAINED = 4, 2e-3, 5e-4


def filled_in(options: TomoRefineOptions, method: Method, device: str, trained_width: int | None) -> TomoRefineOptions:
    """Options with every default filled in.

    Parameters
    ----------
    device
        "cpu" or "cuda".
    trained_width
        Channels of the network that the training starts from; None for a new one.
    """
    weight = _MW_WEIGHTS[method] if options.mw_weight is None else options.mw_weight
    on_gpu = device == "cuda" and "precision" not in options.model_fields_set
    return options.model_copy(
        update={
            "method": method,
            "batch_size": options.batch_size or _BATCH,
            "steps_per_epoch": options.steps_per_epoch or _STEPS_PER_EPOCH[device],
            "base_width": trained_width or options.base_width or _BASE_WIDTH[device],
            "mw_weight": 1.0 if weight < 0 else weight,
            "learning_rate": options.learning_rate or (_RATE if trained_width is None else _RATE_OF_TRAINED),
            "precision": "bfloat16" if on_gpu else options.precision,
        }
    )


def total_steps(options: TomoRefineOptions) -> int:
    """Of a whole training, of options that are filled in."""
    return options.steps or options.epochs * (options.steps_per_epoch or 1)


def reduced_cube(options: TomoRefineOptions, factor: int) -> int:
    """Side of training cubes in reduced voxels, a multiple of 8 from 16 to 256."""
    if options.cube_size is None:
        return _CUBE
    return min(_LARGEST_CUBE, max(SMALLEST_CUBE, 8 * round(options.cube_size / factor / 8)))


def wedge_options(options: TomoRefineOptions, steps: int, side: int, seed: int) -> WedgeOptions:
    """How a network learns, of options that are filled in.

    Parameters
    ----------
    steps
        To be taken now.
    side
        Of training cubes, in reduced voxels.
    """
    return WedgeOptions(
        batch=options.batch_size or _BATCH,
        learning_rate=options.learning_rate or _RATE,
        base_width=options.base_width or _BASE_WIDTH["cpu"],
        cube_size=side,
        steps=steps,
        wedge_weight=1.0 if options.mw_weight is None else options.mw_weight,
        free_rotations=options.random_rot_weight,
        held_out=0 if options.patience is None else KEPT_OUT_CUBES,
        held_out_every=options.steps_per_epoch or _STEPS_PER_EPOCH["cpu"],
        patience=options.patience,
        weight_decay=1e-4,
        seed=seed,
        precision=options.precision,
    )
