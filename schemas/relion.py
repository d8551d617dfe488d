"""Options of `relion.reconstruct`: how the calls of one refinement are answered.

They come from four places, later ones winning: our defaults, the environment (`ISONET_*`, the names that
spIsoNet's users know, and `CRYOBRIDGE_*`), flags in RELION's own command line (`--keep_lowres`), and a
`cryobridge.yaml` in the job folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from .correction import CorrectionOptions
from .errors import InputInvalid
from .validation import StrictModel, input_invalid

Style = Literal["auto", "stock", "relion3", "relion5"]
SETTINGS_NAME = "cryobridge.yaml"
MAX_SETTINGS_BYTES = 64 * 1024


class RelionOptions(StrictModel):
    """Everything that can be chosen for the calls of one refinement."""

    style: Style = Field("auto", description="whose standard map to make; auto: that of the calling RELION")
    correction: bool = Field(True, description="false: only ever the standard map")
    start_healpix: int = Field(3, ge=0, le=12, description="correct from this healpix order on")
    start_resolution_A: float = Field(15.0, gt=0, description="correct once the FSC=0.143 resolution is better")
    whitening: bool = Field(True, description="flatten the spectrum before training")
    whitening_low_A: float = Field(10.0, gt=0, description="flatten from this resolution to the limit")
    keep_lowres: bool = Field(False, description="below --ini_high keep the starting reference")
    fsc_weighting: bool = Field(
        True, description="weight both halves radially, unless the network filters them itself (filter_input)"
    )
    fsc_05: bool = Field(False, description="limit the correction to FSC=0.5 instead of 0.143")
    lowpass: bool = Field(True, description="low-pass the corrected map at the limit resolution")
    angular_whiten: bool = Field(False, description="even out amplitudes over directions afterwards")
    sampling_density: bool = Field(False, description="weight by view density instead of the 3DFSC")
    cone_half_angle_deg: float = Field(10.0, gt=0, le=45)
    fsc3d_form: Literal["phase_cosine", "sum_ratio"] = "phase_cosine"
    combine: Literal["fill", "published"] = Field(
        "fill",
        description="fill: measured voxels stay as measured, the network fills what the filter took away",
    )
    prior_variance: float = Field(
        1.0, gt=0, le=1, description="fill: how far measured data may differ from the network, as a share of tau2"
    )
    weight: Literal["gain", "fsc3d"] = Field(
        "fsc3d", description="what says how well a Fourier voxel is measured: the 3DFSC, or RELION's weights and prior"
    )
    retrain_each_iteration: bool = Field(False, description="forget the network between iterations")
    start_iteration: int = Field(1, ge=1, description="correct from this iteration on")
    partner_wait_s: float = Field(120.0, gt=0, description="how long one half waits for the other")
    deadline_s: float | None = Field(None, gt=0, description="longest time for one call of RELION, all included")
    strict: bool = Field(False, description="the hook exits 1 when it had to fall back")
    keep_volumes: bool = Field(False, description="keep RELION's padded input volumes")
    network: dict[str, Any] = Field(default_factory=dict, description="options of the training")


def _boolean(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in ("true", "1", "yes", "on"):
        return True
    if lowered in ("false", "0", "no", "off"):
        return False
    raise ValueError(f"'{text}' is neither True nor False")


# ISONET_ name -> (our key, how to read it); keys with a dot go to the network's options.
_ISONET: dict[str, tuple[str, Callable[[str], Any]]] = {
    "ISONET_WHITENING": ("whitening", _boolean),
    "ISONET_WHITENING_LOW": ("whitening_low_A", float),
    "ISONET_RETRAIN_EACH_ITER": ("retrain_each_iteration", _boolean),
    "ISONET_BETA": ("network.beta", float),
    "ISONET_ALPHA": ("network.alpha", float),
    "ISONET_START_HEALPIX": ("start_healpix", int),
    "ISONET_ACC_BATCHES": ("network.acc_batches", int),
    "ISONET_EPOCHS": ("network.epochs", int),
    "ISONET_KEEP_LOWRES": ("keep_lowres", _boolean),
    "ISONET_LOWPASS": ("lowpass", _boolean),
    "ISONET_ANGULAR_WHITEN": ("angular_whiten", _boolean),
    "ISONET_3DFSD": ("sampling_density", _boolean),
    "ISONET_FSC_05": ("fsc_05", _boolean),
    "ISONET_FSC_WEIGHTING": ("fsc_weighting", _boolean),
    "ISONET_START_RESOLUTION": ("start_resolution_A", float),
}
_CRYOBRIDGE: dict[str, tuple[str, Callable[[str], Any]]] = {
    "CRYOBRIDGE_STYLE": ("style", str),
    "CRYOBRIDGE_CORRECTION": ("correction", _boolean),
    "CRYOBRIDGE_START_ITERATION": ("start_iteration", int),
    "CRYOBRIDGE_PARTNER_WAIT_S": ("partner_wait_s", float),
    "CRYOBRIDGE_DEADLINE_S": ("deadline_s", float),
    "CRYOBRIDGE_STRICT": ("strict", _boolean),
    "CRYOBRIDGE_KEEP_VOLUMES": ("keep_volumes", _boolean),
    "CRYOBRIDGE_STEPS": ("network.steps", int),
    "CRYOBRIDGE_WARM_STEPS": ("network.warm_steps", int),
    "CRYOBRIDGE_PRESET": ("network.preset", str),
    "CRYOBRIDGE_MODE": ("network.mode", str),
    "CRYOBRIDGE_LOSS": ("network.loss", str),
    "CRYOBRIDGE_SEED": ("network.seed", int),
}
ENVIRONMENT = {**_ISONET, **_CRYOBRIDGE}


def resolve_options(
    environment: Mapping[str, str], command_line: str = "", settings: str | None = None
) -> tuple[RelionOptions, list[str]]:
    """Put the options of a call together.

    Parameters
    ----------
    environment
        The caller's `ISONET_*` and `CRYOBRIDGE_*` variables.
    command_line
        RELION's command line, from the comment of its optimiser file.
    settings
        Text of the job folder's `cryobridge.yaml`, or None.

    Returns
    -------
    options
        The options, checked.
    notes
        One sentence for each value that was not understood and therefore left at its default.

    Raises
    ------
    InputInvalid
        If the settings file is not YAML of known keys with values in range.
    """
    values: dict[str, Any] = {}
    notes: list[str] = []
    for name, (key, read) in ENVIRONMENT.items():
        text = environment.get(name, "").strip()
        if not text or text == "None":
            continue
        try:
            _put(values, key, read(text))
            _checked(values)
        except (ValueError, ValidationError):
            _drop(values, key)
            notes.append(f"{name}={text} is not understood; its default is used")
    if "--keep_lowres" in command_line.split():
        values["keep_lowres"] = True
    values = _merge(values, _read_settings(settings))
    try:
        return _checked(values), notes
    except ValidationError as error:
        model = CorrectionOptions if error.title == CorrectionOptions.__name__ else RelionOptions
        source = SETTINGS_NAME if model is RelionOptions else f"{SETTINGS_NAME}, network"
        raise input_invalid(error, model, source) from error


def _checked(values: dict[str, Any]) -> RelionOptions:
    """Check the options and, here already, those of the training: nobody should wait for both halves to hear of it."""
    options = RelionOptions.model_validate(values)
    CorrectionOptions.for_device("cpu", **options.network)
    return options


def _read_settings(text: str | None) -> dict[str, Any]:
    if not text:
        return {}
    if len(text) > MAX_SETTINGS_BYTES:
        raise InputInvalid(f"{SETTINGS_NAME}: larger than {MAX_SETTINGS_BYTES} bytes; it should be a few lines")
    try:
        loaded = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise InputInvalid(f"{SETTINGS_NAME}: not YAML: {' '.join(str(error).split())}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict) or not all(isinstance(key, str) for key in loaded):
        raise InputInvalid(f"{SETTINGS_NAME}: should hold 'key: value' lines")
    return loaded


def _put(values: dict[str, Any], key: str, value: object) -> None:
    if key.startswith("network."):
        values.setdefault("network", {})[key.removeprefix("network.")] = value
    else:
        values[key] = value


def _drop(values: dict[str, Any], key: str) -> None:
    if key.startswith("network."):
        values.get("network", {}).pop(key.removeprefix("network."), None)
    else:
        values.pop(key, None)


def _merge(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    merged = {**first, **second}
    if isinstance(first.get("network"), dict) and isinstance(second.get("network"), dict):
        merged["network"] = {**first["network"], **second["network"]}
    return merged
