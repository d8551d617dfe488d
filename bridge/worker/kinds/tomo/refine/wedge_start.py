"""What a training straight from tomograms begins with, and what it leaves of its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.tomo.refine import (
    NETWORK_NAME,
    OF_ISONET,
    WITHOUT_EFFECT,
    Method,
    TomoRefineJob,
    TomoRefineOptions,
)
from cryobridge.schemas.plain_file import open_plain
from cryobridge.wrappers.tomograms.table import read_tomogram_table

from ....tomograms.wedge_network import StoredWedgeNetwork, is_wedge_network, read_wedge_network
from .state_file import STATE_SCHEMA, read_state
from .wedge_plan import total_steps

_STRAIGHT: tuple[Method, ...] = ("isonet2", "n2n", "n2n-mw")
_LOOKED_AT = 1 << 16
_SUBTOMOGRAMS = b"_rlnImageName"


@dataclass(frozen=True)
class WedgeStart:
    """What a training begins with.

    Attributes
    ----------
    options
        Those of the training that is gone on with, with what was chosen now in their place.
    network
        What it starts from; None for a new one.
    done, losses
        Steps before, and their losses as far as they are known.
    lines
        For the log.
    """

    options: TomoRefineOptions
    network: StoredWedgeNetwork | None = None
    done: int = 0
    losses: tuple[float, ...] = ()
    lines: list[str] = field(default_factory=list)


def method_of(job: TomoRefineJob) -> Method:
    """The method of a job: as it is told, else as of the training that is gone on with, else as the table is.

    Raises
    ------
    InputInvalid
        If what is gone on with, or the table, cannot be read.
    """
    options, inputs = job.options, job.inputs
    if options.method is not None:
        return options.method
    if inputs.continue_from is not None:
        return _stored_method(inputs.continue_from)
    if _holds_subtomograms(inputs.subtomos):
        return "isonet"
    chosen = read_tomogram_table(inputs.subtomos).chosen(options.tomo_idx)
    paired = all(one.half1 is not None and one.half2 is not None for one in chosen)
    return "n2n-mw" if paired else "isonet2"


def started_from_tomograms(job: TomoRefineJob) -> WedgeStart:
    """What a job begins with.

    Raises
    ------
    InputInvalid
        If the network or the state cannot be used: one sentence.
    """
    inputs, options = job.inputs, job.options
    lines = [
        f"{', '.join(given)} had no effect: {why}"
        for names, why in (
            (OF_ISONET, "only the method isonet asks for that"),
            (WITHOUT_EFFECT, "nothing of that sort is needed here"),
        )
        if (given := sorted(options.model_fields_set & set(names)))
    ]
    if inputs.continue_from is not None:
        return _continued(inputs.continue_from, options, lines)
    network = None if inputs.pretrained_model is None else read_wedge_network(inputs.pretrained_model)
    return WedgeStart(options, network, lines=lines)


def steps_left(start: WedgeStart, options: TomoRefineOptions, path: Path | None) -> int:
    """How many steps there are still to take, of options that are filled in.

    Raises
    ------
    InputInvalid
        If none.
    """
    left = total_steps(options) - start.done
    if left <= 0:
        more = start.done + (options.steps_per_epoch or 1)
        raise InputInvalid(f"{path}: its {start.done} steps are done; give more, e.g. 'steps: {more}', to go on")
    return left


def wedge_state(
    options: TomoRefineOptions, done: int, known: Mapping[str, Any], losses: Sequence[float] | None = None
) -> dict[str, Any]:
    """What is kept of a training: all settings, how far it is, what is known, and losses if they are given."""
    told = {} if losses is None else {"losses": [float(f"{loss:.6g}") for loss in losses]}
    return {
        "schema": STATE_SCHEMA,
        "model": NETWORK_NAME,
        "steps_done": done,
        "options": options.model_dump(mode="json"),
        **known,
        **told,
    }


def _continued(path: Path, chosen: TomoRefineOptions, lines: list[str]) -> WedgeStart:
    state = read_state(path)
    network = read_wedge_network(path if state is None else path.parent / NETWORK_NAME)
    stored = network.settings if state is None else state
    done, options, losses = stored.get("steps_done"), stored.get("options"), stored.get("losses", [])
    if not isinstance(done, int) or done < 0 or not isinstance(options, dict) or not isinstance(losses, list):
        raise InputInvalid(
            f"{path}: does not say what was done; give refine.json or model.safetensors of a tomo refine straight from "
            "tomograms"
        )
    if "steps" not in chosen.model_fields_set and {"epochs", "steps_per_epoch"} & chosen.model_fields_set:
        options = {**options, "steps": None}
    used = TomoRefineOptions.continued(options, chosen, str(path))
    return WedgeStart(used, network, done, tuple(float(one) for one in losses if isinstance(one, float)), lines)


def _stored_method(path: Path) -> Method:
    """That of a state or a network; isonet where it says none."""
    state = read_state(path)
    if state is None:
        state = read_wedge_network(path).settings if is_wedge_network(path) else {}
    options = state.get("options")
    told = options.get("method") if isinstance(options, dict) else None
    return next((method for method in _STRAIGHT if method == told), "isonet")


def _holds_subtomograms(table: Path) -> bool:
    try:
        with open(open_plain(table), "rb") as file:
            return _SUBTOMOGRAMS in file.read(_LOOKED_AT)
    except OSError as error:
        raise InputInvalid(f"{table}: cannot be read ({error.strerror}); check the name and its permissions") from error
