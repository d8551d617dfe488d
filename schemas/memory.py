"""How much memory a job will want, reckoned from its box and options before anything is read."""

from __future__ import annotations

from dataclasses import dataclass

VOXEL_BYTES = 4
"""Of a float32; the half spectrum of a map in complex64 takes as much as the map."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes at the peak: on the host, and on the device. Where the device is the CPU both are taken from the host."""

    host_bytes: int
    device_bytes: int

    def of_host(self, device: str) -> int:
        """What the host must have free for a job on a device ("cpu" or "cuda")."""
        return self.host_bytes + (self.device_bytes if device.split(":")[0] == "cpu" else 0)


def volumes(count: float, box: int) -> int:
    """Bytes of so many volumes (box, box, box) in float32."""
    return int(count * VOXEL_BYTES * box**3)
