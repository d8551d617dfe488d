"""What a job ran with: programs and device, for its records."""

from __future__ import annotations

import platform

import numpy as np
import torch

from cryobridge import __version__


def versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    return {
        "cryobridge": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def device_name(device: torch.device) -> str:
    """A device as its maker calls it, and which of them it is."""
    if device.type != "cuda":
        return device.type
    properties = torch.cuda.get_device_properties(device)
    return f"{properties.name} ({getattr(properties, 'uuid', device)})"
