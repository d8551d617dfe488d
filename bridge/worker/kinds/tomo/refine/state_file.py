"""What a refine leaves of its settings, and what another one goes on from: ours, and IsoNet's `refine_iterNN.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.tomo.refine import NETWORK_NAME, NETWORK_OPTIONS, TomoRefineJob, TomoRefineOptions
from cryobridge.schemas.plain_file import open_plain, read_plain

from ....tomograms.network_file import StoredIsoNet, read_network_file

STATE_SCHEMA = "cryobridge/tomogram-refine/1"
_MOST_BYTES = 16 << 20


@dataclass(frozen=True)
class RefineStart:
    """What a refine begins with.

    Attributes
    ----------
    options
        Those of the training that is gone on with, with what was chosen now in their place.
    network
        What it starts from; None for a new one.
    done
        Iterations before.
    history
        What became of these, as plain JSON values; empty where it is not known.
    lines
        For the log.
    """

    options: TomoRefineOptions
    network: StoredIsoNet | None = None
    done: int = 0
    history: tuple[Mapping[str, Any], ...] = ()
    lines: list[str] = field(default_factory=list)


def started(job: TomoRefineJob) -> RefineStart:
    """What a job begins with.

    Raises
    ------
    InputInvalid
        If the network or the state cannot be used, or nothing is left to do: one sentence.
    """
    inputs, options = job.inputs, job.options
    if inputs.continue_from is not None:
        return _continued(inputs.continue_from, options)
    if inputs.pretrained_model is None:
        return RefineStart(options)
    network = read_network_file(inputs.pretrained_model)
    return RefineStart(_of(network, options), network, lines=_ignored(options, inputs.pretrained_model))


def state_text(
    options: TomoRefineOptions, done: int, history: Sequence[Mapping[str, Any]], known: Mapping[str, Any]
) -> str:
    """The text of `refine.json`."""
    return state_as_text(state_values(options, done, history, known))


def state_as_text(state: Mapping[str, Any]) -> str:
    """A table of settings as it is written."""
    return json.dumps(state, indent=1) + "\n"


def state_values(
    options: TomoRefineOptions, done: int, history: Sequence[Mapping[str, Any]], known: Mapping[str, Any]
) -> dict[str, Any]:
    """What is kept of a refine: all settings, how far it is, losses, and what else is known."""
    return {
        "schema": STATE_SCHEMA,
        "model": NETWORK_NAME,
        "iterations_done": done,
        "options": options.model_dump(mode="json"),
        "history": [dict(one) for one in history],
        **known,
    }


def _continued(path: Path, chosen: TomoRefineOptions) -> RefineStart:
    stored, network = _stored(path)
    done = stored.get("iterations_done")
    if not isinstance(done, int) or not isinstance(stored.get("options"), dict) or done < 0:
        raise InputInvalid(f"{path}: does not say what was done; give refine.json or model.safetensors of tomo refine")
    options = TomoRefineOptions.continued(stored["options"], chosen, str(path))
    if options.iterations <= done:
        raise InputInvalid(
            f"{path}: its {done} iterations are done; give more, e.g. 'iterations: {done + 10}', to go on from there"
        )
    history = stored.get("history", [])
    rows = tuple(one for one in history if isinstance(one, dict)) if isinstance(history, list) else ()
    return RefineStart(_of(network, options), network, done, rows, _ignored(chosen, path))


def read_state(path: Path) -> Mapping[str, Any] | None:
    """The table in a file of settings; None where the file is a network.

    Raises
    ------
    InputInvalid
        If it cannot be read: one sentence.
    """
    raw = _beginning(path)
    # A .safetensors file begins with a length of eight bytes, which may look like a bracket.
    if b"\0" in raw[:8] or not raw.lstrip().startswith(b"{"):
        return None
    try:
        stored = json.loads(read_plain(path, _MOST_BYTES))
        if not isinstance(stored, dict):
            raise TypeError("no table")
    except OSError as error:
        raise InputInvalid(f"{path}: cannot be read ({error.strerror}); check the name and its permissions") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise InputInvalid(f"{path}: is no state of a refine; give its refine.json") from error
    return stored


def _stored(path: Path) -> tuple[Mapping[str, Any], StoredIsoNet]:
    """The state in a file, and its network."""
    stored = read_state(path)
    if stored is None:
        network = read_network_file(path)
        return network.settings, network
    if stored.get("schema") == STATE_SCHEMA:
        return stored, read_network_file(path.parent / NETWORK_NAME)
    count = stored.get("iter_count")
    if not isinstance(count, int) or not 0 <= count < 10_000:
        raise InputInvalid(f"{path}: is no state of a refine; give its refine.json")
    # IsoNet's: parameters at the top, the network beside it under the number of the iteration.
    network = read_network_file(path.parent / f"model_iter{count:02d}.h5")
    return {"options": stored, "iterations_done": count}, network


def _beginning(path: Path) -> bytes:
    try:
        with open(open_plain(path), "rb") as file:
            return file.read(64)
    except OSError as error:
        raise InputInvalid(f"{path}: cannot be read ({error.strerror}); check the name and its permissions") from error


def _of(network: StoredIsoNet, options: TomoRefineOptions) -> TomoRefineOptions:
    """The options with what the network decides."""
    shape = network.shape
    return options.model_copy(
        update={
            "filter_base": shape.filter_base,
            "unet_depth": shape.unet_depth,
            "convs_per_depth": shape.convs_per_depth,
            "kernel": ",".join(map(str, shape.kernel)),
            "pool": None if shape.pool is None else ",".join(map(str, shape.pool)),
            "drop_out": shape.drop_out,
            "batch_normalization": shape.batch_normalization,
        }
    )


def _ignored(options: TomoRefineOptions, path: Path) -> list[str]:
    given = sorted(options.model_fields_set & set(NETWORK_OPTIONS))
    if not given:
        return []
    return [f"{', '.join(given)} had no effect: the network of {path} has its own"]
