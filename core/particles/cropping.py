"""Images and volumes made smaller by a crop of their transform: what lies beyond the new Nyquist is left out.

The crop is one of the Hartley transform, frequencies -d/2 to d/2 - 1 on each axis, as cryoDRGN has it.
"""

from __future__ import annotations

import torch
from torch import Tensor


def downsampled_images(images: Tensor, box: int) -> Tensor:
    """Images (N, D, D) at a box d; values as sums, so those of one even image are (D / d)^2 times as large.

    Parameters
    ----------
    images
        Real; y, x.
    box
        Even, and no larger than D, which is even too.

    Returns
    -------
    (N, box, box) float32.

    Raises
    ------
    ValueError
        If a box is odd or too large.
    """
    n = _expect_even(images.shape[-1], box)
    half = torch.fft.rfft2(images.float())
    rows = _frequencies(box, images.device)
    cropped = half[:, rows % n][..., : box // 2 + 1]
    # Negative kx are the conjugates of the opposite pixels.
    mirrored = half[:, -rows % n][..., 1 : box // 2 + 1].flip(-1).conj()
    spectrum = torch.cat([cropped[..., : box // 2], mirrored], dim=-1)
    return _cas(torch.fft.fft2(spectrum.real - spectrum.imag)) / box**2


def downsampled_volume(volume: Tensor, box: int) -> Tensor:
    """A volume (D, D, D) at a box d; values as sums, (D / d)^3 times as large where it is even.

    Returns
    -------
    (box, box, box) float32; z, y, x.

    Raises
    ------
    ValueError
        If a box is odd or too large.
    """
    n = _expect_even(volume.shape[-1], box)
    half = torch.fft.rfftn(volume.float())
    rows = _frequencies(box, volume.device)
    cropped = half[rows % n][:, rows % n][..., : box // 2 + 1]
    mirrored = half[-rows % n][:, -rows % n][..., 1 : box // 2 + 1].flip(-1).conj()
    spectrum = torch.cat([cropped[..., : box // 2], mirrored], dim=-1)
    return _cas(torch.fft.fftn(spectrum.real - spectrum.imag)) / box**3


def _cas(transform: Tensor) -> Tensor:
    """The Hartley transform from that of Fourier."""
    return transform.real - transform.imag


def _frequencies(box: int, device: torch.device) -> Tensor:
    """Whole frequencies of a box in the order of an FFT, the one of Nyquist negative."""
    steps = torch.arange(box, device=device)
    return torch.where(steps < box // 2, steps, steps - box)


def _expect_even(n: int, box: int) -> int:
    if n % 2 or box % 2 or not 2 <= box <= n:
        raise ValueError(f"a box of {box} from one of {n}: both are even, and the first is no larger")
    return n
