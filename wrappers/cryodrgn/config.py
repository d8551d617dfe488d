"""What a run of cryoDRGN says of itself: `config.yaml`, or `config.pkl` of versions before 2.3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cryobridge.core.latent import published
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import read_bounded

from ..formats.pickled_arrays import read_pickled

YAML, PICKLE = "config.yaml", "config.pkl"
_MOST_BYTES = 1 << 20
_SECTIONS = ("dataset_args", "lattice_args", "model_args")
_ENCODERS = {"resid": "resid", "mlp": "mlp"}


@dataclass(frozen=True)
class PeerConfig:
    """Settings of a run.

    Attributes
    ----------
    path
        The file.
    shape
        Of its network; layers and widths are best taken from the weights.
    encoder_radius
        Of the Fourier pixels that its encoder sees, None where it is not opened.
    norm
        What transforms of images were divided by.
    window_radius
        Where the window begins, in halves of the box; None where there was none.
    counts_from
        Number of its first epoch: 1 since version 3.5, 0 before.
    dataset
        Its particles, poses, CTF, selection and folder of stacks, as they were written.
    """

    path: Path
    shape: published.NetworkShape
    encoder_radius: float | None
    norm: float
    window_radius: float | None
    counts_from: int
    dataset: Mapping[str, Any]


def read_config(folder: Path) -> PeerConfig:
    """Read the settings of a run.

    Raises
    ------
    InputInvalid
        If there are none, they are damaged, or of a network that is not known here.
    """
    path = folder / YAML if (folder / YAML).is_file() else folder / PICKLE
    found = _table(path)
    sections = [found.get(name) for name in _SECTIONS]
    if not all(isinstance(section, dict) for section in sections):
        raise InputInvalid(f"{path}: has no {', '.join(_SECTIONS)}; it is no configuration of a cryoDRGN training")
    try:
        return _of(path, found, *sections)  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputInvalid(
            f"{path}: is of a network that is not known here ({error}); train_vae and train_nn are opened"
        ) from error


def _table(path: Path) -> Mapping[str, Any]:
    if path.name == PICKLE:
        found = read_pickled(path, max_bytes=_MOST_BYTES)[0]
    else:
        text = read_bounded(path, _MOST_BYTES, is_a="settings of a training are a page")
        try:
            found = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InputInvalid(f"{path}: is no YAML of plain values; copy it again from the run") from error
    if not isinstance(found, dict):
        raise InputInvalid(f"{path}: is no table of settings; copy it again from the run")
    return found


def _of(
    path: Path, found: Mapping[str, Any], data: dict[str, Any], lattice: dict[str, Any], model: dict[str, Any]
) -> PeerConfig:
    box = int(lattice["D"]) - 1
    if box < 8 or box % 2 or box > 4096:
        raise ValueError(f"a lattice of {box + 1}")
    alone = "zdim" not in model
    radius = model.get("enc_mask")
    shape = published.NetworkShape.of_json(
        {
            "box": box,
            "zdim": 0 if alone else int(model["zdim"]),
            "encoder": "none" if alone else _ENCODERS.get(str(model.get("encode_mode", "resid")), "none"),
            "encoder_layers": int(model.get("qlayers", 1)),
            "encoder_width": int(model.get("qdim", 1)),
            "encoder_radius": box / 2,
            "decoder_layers": int(model["layers"] if alone else model["players"]),
            "decoder_width": int(model["dim"] if alone else model["pdim"]),
            "encoding": str(model.get("pe_type", "geom_lowf")),
            "encoding_count": int(model.get("pe_dim") or box // 2),
            "feature_sigma": float(model.get("feat_sigma") or 0.5),
            "domain": str(model.get("domain", "fourier")),
            "activation": str(model.get("activation", "relu")),
            "tilts": 1,
            "tilt_layers": 1,
            "tilt_width": 1,
            "tilt_embedding": 1,
        }
    )
    seen = box / 2 if radius is None else float(radius)
    opened = shape.encoder != "none" and 0 < seen <= box / 2
    norm = float(data["norm"][1])
    if not norm > 0:
        raise ValueError(f"images divided by {norm}")
    window = float(data.get("window_r", 0.85)) if data.get("window") else None
    return PeerConfig(path, shape, seen if opened else None, norm, window, _counts_from(found.get("version")), data)


def _counts_from(version: object) -> int:
    """The first epoch's number, by the version that a run says it is of; those that say nothing are old."""
    parts = str(version or "0").split(".")
    numbers = tuple(int(part) if part.isdigit() else 0 for part in (*parts, "0")[:2])
    return 1 if numbers >= (3, 5) else 0
