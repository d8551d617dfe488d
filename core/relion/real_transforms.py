"""Real Fourier transforms along the last axes, fast for the awkward sizes that gridding calls for.

The sizes are odd, often with a large prime factor (131, 259 = 7*37, 515 = 5*103). On a CPU pocketfft (SciPy) does
these in single precision at twice the speed of MKL; on a GPU there is only torch. No transform is normalised.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch


def rfft2(planes: torch.Tensor) -> torch.Tensor:
    """(..., n, n) real -> (..., n, n//2 + 1) complex, sign -1 in the exponent."""
    if planes.device.type != "cpu":
        return _typed(torch.fft.rfft2(planes))
    return _tensor(_pocketfft().rfft2(planes.numpy(), workers=torch.get_num_threads()))


def irfft2(planes: torch.Tensor, n: int) -> torch.Tensor:
    """(..., n, n//2 + 1) complex -> (..., n, n) real, sign +1, no division."""
    if planes.device.type != "cpu":
        return _typed(torch.fft.irfft2(planes, s=(n, n), norm="forward"))
    return _tensor(_pocketfft().irfft2(planes.numpy(), s=(n, n), norm="forward", workers=torch.get_num_threads()))


def rfft(lines: torch.Tensor) -> torch.Tensor:
    """(..., n) real -> (..., n//2 + 1) complex, sign -1."""
    if lines.device.type != "cpu":
        return _typed(torch.fft.rfft(lines))
    return _tensor(_pocketfft().rfft(lines.numpy(), workers=torch.get_num_threads()))


def irfft(lines: torch.Tensor, n: int) -> torch.Tensor:
    """(..., up to n//2 + 1) complex -> (..., n) real, sign +1, no division; missing coefficients are 0."""
    if lines.device.type != "cpu":
        return _typed(torch.fft.irfft(lines, n=n, norm="forward"))
    return _tensor(_pocketfft().irfft(lines.numpy(), n=n, norm="forward", workers=torch.get_num_threads()))


def ifft(lines: torch.Tensor, axis: int) -> torch.Tensor:
    """(..., n, ...) complex -> the same shape, along one axis, sign +1, no division."""
    if lines.device.type != "cpu":
        return _typed(torch.fft.ifft(lines, dim=axis, norm="forward"))
    return _tensor(_pocketfft().ifft(lines.numpy(), axis=axis, norm="forward", workers=torch.get_num_threads()))


def _pocketfft() -> ModuleType:
    """SciPy's transforms; loading them takes a seventh of a second that only those who grid should pay."""
    from scipy import fft

    return fft


def _tensor(array: Any) -> torch.Tensor:  # SciPy ships no types
    return torch.from_numpy(array)


def _typed(tensor: torch.Tensor) -> torch.Tensor:  # torch.fft ships none either
    return tensor
