"""Options of `relion.reconstruct`: how the calls of one refinement are answered.

They come from four places, later ones winning: our defaults, the environment (`ISONET_*`, the names that
spIsoNet's users know, and `CRYOBRIDGE_*`), flags in RELION's own command line (`--keep_lowres`), and a
`cryobridge.yaml` in the job folder.

Four of them are also the hook's own (`hook_settings`). They are taken as the hook read them, and a file in which one of
them says something else here is refused, so that hook and daemon never differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from . import hook_settings, settings_file
from .correction import CorrectionOptions
from .errors import InputInvalid, SettingsInvalid
from .hook_settings import DEFAULTS, HookSettings
from .pretrained import Effort, another_shape, options_of
from .validation import StrictModel, input_invalid

Style = Literal["auto", "stock", "relion3", "relion5"]
SETTINGS_NAME = hook_settings.FILE_NAME


class RelionOptions(StrictModel):
    """Everything that can be chosen for the calls of one refinement."""

    style: Style = Field("auto", description="whose standard map to make; auto: that of the calling RELION")
    correction: bool = Field(DEFAULTS.correction, description="false: only ever the standard map")
    start_healpix: int = Field(3, ge=0, le=12, description="correct from this healpix order on")
    start_resolution_A: float = Field(15.0, gt=0, description="correct once the FSC=0.143 resolution is better")
    whitening: bool = Field(
        True, description="flatten the spectrum before training; the pre-trained network always sees it level"
    )
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
        0.25, gt=0, le=1, description="fill: how far measured data may differ from the network, as a share of tau2"
    )
    weight: Literal["noise", "gain", "fsc3d"] = Field(
        "noise",
        description="what tells the network how well a Fourier voxel is measured: the power of the half-maps' "
        "difference, RELION's own weights and prior, or the 3DFSC",
    )
    start: Literal["pretrained", "anew"] | None = Field(
        None,
        description="pretrained: from the small network that was trained on simulated half-maps; anew: from nothing; "
        "pretrained if empty, unless the weight is fsc3d, or another network or the published loss is asked for",
    )
    effort: Effort = Field(
        "quick",
        description="with the pre-trained network: quick uses it as it is, unless a length of training is given; "
        "standard trains it a little in every iteration, careful longer",
    )
    retrain_each_iteration: bool = Field(False, description="forget the network between iterations")
    start_iteration: int = Field(1, ge=1, description="correct from this iteration on")
    partner_wait_s: float = Field(120.0, gt=0, description="how long one half waits for the other")
    deadline_s: float | None = Field(
        DEFAULTS.deadline_s, gt=0, description="longest time for one call of RELION, all included"
    )
    strict: bool = Field(DEFAULTS.strict, description="the hook exits 1 when it had to fall back")
    keep_volumes: bool = Field(DEFAULTS.keep_volumes, description="keep RELION's padded input volumes")
    network: dict[str, Any] = Field(default_factory=dict, description="options of the training")

    @model_validator(mode="after")
    def _startable(self) -> Self:
        if self.start == "pretrained" and (self.weight == "fsc3d" or self.sampling_density):
            raise ValueError(
                "the pre-trained network knows maps that are weighted by how much of a voxel is signal; leave 'start' "
                "out, or choose 'weight: gain' or 'noise' without 'sampling_density'"
            )
        return self

    @property
    def begins_pretrained(self) -> bool:
        """Whether a first network is the one that was trained on simulated half-maps."""
        if self.start is not None:
            return self.start == "pretrained"
        published = self.network.get("loss") == "published"
        told_otherwise = self.weight == "fsc3d" or self.sampling_density
        return not (told_otherwise or published or another_shape(self.network))

    def network_options(self, device: str) -> CorrectionOptions:
        """How networks are made and trained on a device ("cpu" or "cuda").

        One for each half-set where nothing else is chosen: RELION lives on the half-maps' independence.
        """
        defaults: dict[str, Any] = {"mode": "independent"}
        if self.begins_pretrained:
            defaults |= options_of(self.effort, self.network)
            if "steps" in self.network or {"epochs", "n_subvolume"} & self.network.keys():
                # Who says how long to train does not want our numbers; where nothing is said, the device's stand.
                del defaults["steps"], defaults["warm_steps"]
        return CorrectionOptions.for_device(device, **{**defaults, **self.network})


def _boolean(text: str) -> bool:
    value = hook_settings.flag(text)
    if value is None:
        raise ValueError(f"'{text}' is neither True nor False")
    return value


def _seconds(text: str) -> float:
    value = hook_settings.seconds(text)
    if value is None:
        raise ValueError(f"'{text}' is no number of seconds")
    return value


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
    hook_settings.VARIABLES["correction"]: ("correction", _boolean),
    "CRYOBRIDGE_START_ITERATION": ("start_iteration", int),
    "CRYOBRIDGE_WEIGHT": ("weight", str),
    "CRYOBRIDGE_START": ("start", str),
    "CRYOBRIDGE_EFFORT": ("effort", str),
    "CRYOBRIDGE_PARTNER_WAIT_S": ("partner_wait_s", float),
    hook_settings.VARIABLES["deadline_s"]: ("deadline_s", _seconds),
    hook_settings.VARIABLES["strict"]: ("strict", _boolean),
    hook_settings.VARIABLES["keep_volumes"]: ("keep_volumes", _boolean),
    "CRYOBRIDGE_STEPS": ("network.steps", int),
    "CRYOBRIDGE_WARM_STEPS": ("network.warm_steps", int),
    "CRYOBRIDGE_PRESET": ("network.preset", str),
    "CRYOBRIDGE_MODE": ("network.mode", str),
    "CRYOBRIDGE_LOSS": ("network.loss", str),
    "CRYOBRIDGE_SEED": ("network.seed", int),
}
ENVIRONMENT = {**_ISONET, **_CRYOBRIDGE}


def resolve_options(
    environment: Mapping[str, str],
    command_line: str = "",
    settings: str | None = None,
    chosen: HookSettings | None = None,
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
    chosen
        The hook's own settings as the hook read them; None from a hook of an older version, which reads single lines
        and nothing else of YAML.

    Returns
    -------
    options
        The options, checked.
    notes
        One sentence for each value that was not understood and therefore left at its default.

    Raises
    ------
    SettingsInvalid
        If the settings file is too large, is not YAML of known keys with values in range, or says something else of
        the hook's own settings than the hook has read.
    InputInvalid
        If it holds one of them in a way that a hook of an older version does not read.
    """
    values, notes = _by_variables(environment)
    if "--keep_lowres" in command_line.split():
        values["keep_lowres"] = True
    try:
        in_file = settings_file.read(settings)
        own = _own(in_file)
        options = _checked_file(_merge(values, {**in_file, **own}))
        if chosen is not None:
            _check_agreement(own, chosen)
    except InputInvalid as error:
        raise SettingsInvalid(str(error)) from error
    if chosen is None:
        _check_lines(settings or "", own)
        chosen = hook_settings.read(settings, environment)
    return options.model_copy(update={key: getattr(chosen, key) for key in hook_settings.KEYS}), notes


def _by_variables(environment: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The values that variables set, and a sentence on each that is not understood."""
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
            instead = "the volumes are kept" if key == "keep_volumes" else "its default is used"
            notes.append(f"{name}={text} is not understood; {instead}")
    return values, notes


def own_settings(text: str | None, environment: Mapping[str, str]) -> HookSettings:
    """The hook's own settings out of any YAML; the file wins over the variables.

    Raises
    ------
    SettingsInvalid
        If the file cannot be read, or does not hold one of them as it should.
    """
    try:
        own: dict[str, Any] = {**_own(settings_file.read(text))}
        return hook_settings.HookSettings(**vars(hook_settings.read(None, environment)) | own)
    except InputInvalid as error:
        raise SettingsInvalid(str(error)) from error


def _own(in_file: Mapping[str, Any]) -> dict[str, bool | float | None]:
    """Those of a file's values that are the hook's own settings, each as what the hook makes of it."""
    own: dict[str, bool | float | None] = {}
    for key in hook_settings.KEYS:
        if key not in in_file:
            continue
        value = in_file[key]
        own[key] = _reader(key)(str(value)) if isinstance(value, bool | int | float | str) else None
        if own[key] is None and not (key == "deadline_s" and value is None):
            raise settings_file.not_as_the_hook_reads_it(key)
    return own


def _check_agreement(own: Mapping[str, bool | float | None], chosen: HookSettings) -> None:
    for key, value in own.items():
        if getattr(chosen, key) != value:
            raise settings_file.not_as_the_hook_reads_it(key)


def _check_lines(text: str, own: Mapping[str, bool | float | None]) -> None:
    """Refuse a file that says one thing to a YAML parser and another to a hook that reads single lines.

    Raises
    ------
    InputInvalid
        Names the first such key and says how to write it.
    """
    seen = hook_settings.in_file(text)
    for key in hook_settings.KEYS:
        alike = (key in seen) == (key in own) and (key not in seen or _reader(key)(seen[key]) == own[key])
        if not alike or key in hook_settings.said_twice(text):
            raise settings_file.not_as_the_hook_reads_it(key)


def _reader(key: str) -> Callable[[str], bool | float | None]:
    return hook_settings.seconds if key == "deadline_s" else hook_settings.flag


def _checked_file(values: dict[str, Any]) -> RelionOptions:
    """Check the options with those of the settings file among them, which are what is at fault."""
    try:
        return _checked(values)
    except ValidationError as error:
        model = CorrectionOptions if error.title == CorrectionOptions.__name__ else RelionOptions
        source = SETTINGS_NAME if model is RelionOptions else f"{SETTINGS_NAME}, network"
        raise input_invalid(error, model, source) from error


def _checked(values: dict[str, Any]) -> RelionOptions:
    """Check the options and, here already, those of the training: nobody should wait for both halves to hear of it."""
    options = RelionOptions.model_validate(values)
    options.network_options("cpu")
    return options


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
