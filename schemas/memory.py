"""How much memory a job will want, reckoned from its box and options before anything is read.

Each kind counts the volumes that it holds at its peak. The counts were held against the peak of real jobs of boxes 96
to 160 on a CPU, and are meant to err upwards.
"""

from __future__ import annotations

from dataclasses import dataclass

VOXEL_BYTES = 4
"""Of a float32; the half spectrum of a map in complex64 takes as much as the map."""
REPORT_BYTES = 80_000_000
"""What drawing figures takes whatever the box, measured."""
_KERNEL_BYTES = 200_000_000
"""What the kernels of convolutions take to work in, whatever the crop, measured."""


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


def training(parts: float, cube: int, width: int) -> int:
    """Bytes of a training step of the U-Net, beside those of the maps.

    Parameters
    ----------
    parts
        Crops that go through the network at once.
    cube
        Side of a crop, in voxels.
    width
        Channels of the network's first level. All levels and both halves together keep about 56 arrays of these at
        the crop's own size for the gradient, measured for widths 8 and 16 and cubes of 48 and 64.
    """
    return _KERNEL_BYTES + int(parts * 56 * width * VOXEL_BYTES * cube**3)
