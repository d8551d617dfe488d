"""Uses the public functions as a caller would: checked by mypy, never run."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import torch

from cryobridge.core.directional.correlation import fsc3d
from cryobridge.core.fourier.correlation import fsc, resolution
from cryobridge.core.relion.wiener import SumsGeometry, reconstruct, wiener_gain
from cryobridge.schemas.correction import CorrectionOptions
from cryobridge.schemas.relion import RelionOptions, resolve_options
from cryobridge.schemas.wire import Frame, candidate_sockets


def half_map_resolution_A(half1: torch.Tensor, half2: torch.Tensor, voxel_size_A: float) -> float:
    """Resolution of two half-maps."""
    return assert_type(resolution(fsc(half1, half2), voxel_size_A), float)


def directional_fsc(half1: torch.Tensor, half2: torch.Tensor) -> torch.Tensor:
    """3DFSC of two half-maps."""
    return assert_type(fsc3d(half1, half2, limit_shell=20, form="sum_ratio"), torch.Tensor)


def standard_map(data: torch.Tensor, weight: torch.Tensor, tau2: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Map and gain from a call's sums."""
    geometry = SumsGeometry(box=64, padding=2, current_size=50)
    volume = reconstruct(data, weight, geometry, tau2.numpy(), style="relion5")
    return volume, wiener_gain(weight, geometry, tau2.numpy())


def options() -> tuple[RelionOptions, list[str], CorrectionOptions]:
    """Options of a call and of its network."""
    chosen, notes = resolve_options({"ISONET_BETA": "0.5"}, "--keep_lowres")
    return chosen, notes, CorrectionOptions.for_device("cpu", **chosen.network)


def sockets(frame: Frame) -> list[Path]:
    """Sockets to try."""
    frame.close()
    return assert_type(candidate_sockets({}), list[Path])
