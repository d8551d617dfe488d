"""Half-spectrum Fourier grids of cubic volumes: transforms, frequencies, Friedel weights, change of box.

Knows nothing of files, units or of what a volume means. Volumes are (..., n, n, n) in z, y, x with the particle's
centre at voxel n//2; spectra are `torch.fft.rfftn` half-spectra (..., n, n, n//2+1), DC first. The phase
origin is voxel 0 (no shift), which filters and correlations do not see; `resample` is where it matters and is
taken care of. Nothing here uses fftshift, so odd and even boxes are the same case.
"""

from __future__ import annotations

import torch
from torch import Tensor

_AXES = (-3, -2, -1)


def box_size(volume: Tensor) -> int:
    """Box size n of a (..., n, n, n) volume; ValueError when it is not a cube."""
    if volume.dim() < 3 or not volume.shape[-3] == volume.shape[-2] == volume.shape[-1]:
        raise ValueError(f"expected a cubic volume (..., n, n, n), got shape {tuple(volume.shape)}")
    return int(volume.shape[-1])


def check_same_box(first: Tensor, second: Tensor) -> int:
    """Box size n shared by two volumes (..., n, n, n); ValueError names both shapes when they differ."""
    if first.shape[-3:] != second.shape[-3:]:
        raise ValueError(f"boxes differ: {tuple(first.shape)} and {tuple(second.shape)}")
    return box_size(first)


def check_spectrum(values: Tensor, n: int) -> None:
    """Raise ValueError unless `values` is a half-spectrum (..., n, n, n//2+1) of box n."""
    if tuple(values.shape[-3:]) != (n, n, n // 2 + 1):
        raise ValueError(f"expected a half-spectrum (..., {n}, {n}, {n // 2 + 1}), got {tuple(values.shape)}")


def forward(volume: Tensor) -> Tensor:
    """Half-spectrum (..., n, n, n//2+1), DC first, of real volumes (..., n, n, n); unnormalised."""
    box_size(volume)
    spectrum: Tensor = torch.fft.rfftn(volume, dim=_AXES)
    return spectrum


def inverse(spectrum: Tensor, n: int) -> Tensor:
    """Real volumes (..., n, n, n) of half-spectra (..., n, n, n//2+1); the inverse of `forward`."""
    check_spectrum(spectrum, n)
    volume: Tensor = torch.fft.irfftn(spectrum, s=(n, n, n), dim=_AXES)
    return volume


def frequency_axes(
    n: int, device: torch.device | str | None = None, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    """Integer frequencies kz (n, 1, 1), ky (1, n, 1), kx (1, 1, n//2+1) of the half-spectrum, DC first.

    For even n the Nyquist frequency is -n/2 along z and y and +n/2 along x, as in `torch.fft`.
    """
    full = torch.arange(n, device=device)
    full = torch.where(full < (n + 1) // 2, full, full - n).to(dtype)
    half = torch.arange(n // 2 + 1, device=device).to(dtype)
    return full.view(n, 1, 1), full.view(1, n, 1), half.view(1, 1, -1)


def squared_radius(n: int, device: torch.device | str | None = None) -> Tensor:
    """Squared Fourier radius in pixels, exact int32 (n, n, n//2+1)."""
    kz, ky, kx = frequency_axes(n, device, torch.int32)
    return kz * kz + ky * ky + kx * kx


def radius(n: int, device: torch.device | str | None = None) -> Tensor:
    """Fourier radius in pixels, float32 (n, n, n//2+1), DC first."""
    kz, ky, kx = frequency_axes(n, device)
    return (kz * kz + ky * ky + kx * kx).sqrt()


def friedel_weights(n: int, device: torch.device | str | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
    """How many voxels of the full spectrum each half-spectrum voxel stands for: (n//2+1,) of 1 or 2.

    1 in the plane kx = 0 and, for even n, in the Nyquist plane, which hold their own Friedel mates; else 2.
    """
    weights = torch.full((n // 2 + 1,), 2.0, device=device, dtype=dtype)
    weights[0] = 1.0
    if n % 2 == 0:
        weights[-1] = 1.0
    return weights


def _signed_frequencies(odd: int, n: int, device: torch.device) -> Tensor:
    """Where a box n keeps the frequencies of an odd box, in the odd box's order."""
    if odd % 2 == 0 or odd > n:
        raise ValueError(f"only odd boxes up to {n} lie in a box of {n} with all their frequencies, got {odd}")
    k = torch.arange(odd, device=device)
    return torch.where(k <= odd // 2, k, k - odd) % n


def crop_spectrum(spectrum: Tensor, odd: int) -> Tensor:
    """Low frequencies of a half-spectrum (..., n, n, n//2+1), as one of an odd box (..., m, m, m//2+1)."""
    k = _signed_frequencies(odd, int(spectrum.shape[-2]), spectrum.device)
    return spectrum[..., : odd // 2 + 1].index_select(-2, k).index_select(-3, k)


def pad_spectrum(spectrum: Tensor, n: int) -> Tensor:
    """Embed a half-spectrum of an odd box (..., m, m, m//2+1) in one of box n; 0 at its other frequencies."""
    odd = int(spectrum.shape[-2])
    k = _signed_frequencies(odd, n, spectrum.device)
    out = spectrum.new_zeros((*spectrum.shape[:-3], n, n, n // 2 + 1))
    out[..., k.view(-1, 1, 1), k.view(1, -1, 1), torch.arange(odd // 2 + 1, device=k.device)] = spectrum
    return out


def centred_spectrum(half: Tensor) -> Tensor:
    """Whole spectrum (n, n, n) with DC at voxel n//2, as files and viewers have it, of real values (n, n, n//2+1)."""
    n = half.shape[0]
    mates = -torch.arange(n, device=half.device) % n
    rest = half[mates][:, mates][:, :, 1 : (n + 1) // 2].flip(2)
    centred: Tensor = torch.fft.fftshift(torch.cat((half, rest), dim=2))
    return centred


def half_of_centred(centred: Tensor) -> Tensor:
    """Half-spectrum (n, n, n//2+1), DC first, of a whole real one (n, n, n) with DC at n//2.

    The mean of each voxel and its Friedel mate, so that files that are not quite symmetric do no harm.
    """
    n = box_size(centred)
    whole = torch.fft.ifftshift(centred)
    mates = -torch.arange(n, device=whole.device) % n
    half: Tensor = ((whole + whole[mates][:, mates][:, :, mates]) / 2)[:, :, : n // 2 + 1].contiguous()
    return half


def apply_filter(volume: Tensor, gain: Tensor) -> Tensor:
    """Multiply the spectrum of (..., n, n, n) by a real gain (n, n, n//2+1) and come back."""
    n = box_size(volume)
    check_spectrum(gain, n)
    return inverse(forward(volume) * gain, n)


def resample(volume: Tensor, n: int) -> Tensor:
    """Fourier-resample (..., m, m, m) to (..., n, n, n) with the same extent; the centre voxel stays the centre.

    Values keep their scale (the mean is unchanged). The new voxel size is m/n times the old one. A Nyquist
    plane that only one of the two even grids can hold is dropped, so the result is always a real
    band-limited copy.
    """
    m = box_size(volume)
    if m == n:
        return volume.clone()
    reach = (min(m, n) - 1) // 2  # the highest frequency that both grids hold with both signs
    kept = crop_spectrum(forward(volume), 2 * reach + 1)
    # The particle sits at m//2 of m voxels and goes to n//2 of n: a shift of that fraction of the box.
    shift = (n // 2) / n - (m // 2) / m
    if shift:
        kz, ky, kx = frequency_axes(2 * reach + 1, volume.device, volume.dtype)
        angle = (-2.0 * torch.pi * shift) * (kz + ky + kx)
        kept = kept * torch.polar(torch.ones_like(angle), angle)
    return inverse(pad_spectrum(kept, n), n) * (n / m) ** 3
