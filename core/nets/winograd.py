"""3x3x3 convolution with half the multiplications, for a CPU in float32.

Along z, four output planes are computed at a time from six input planes by Winograd's minimal filtering F(4, 3)
(Lavin & Gray, CVPR 2016, doi 10.1109/CVPR.2016.435): six two-dimensional convolutions of sums of planes instead of
twelve. In y and x they stay ordinary ones, which the library computes at the processor's peak: transforming those axes
too costs more memory traffic than it saves arithmetic. The result is that of `conv3d` but for rounding (about 3e-6
of the largest value).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

_TILE = 4
_POINTS = 6
# What each of the six two-dimensional kernels takes from the three planes of the kernel.
_KERNEL_TRANSFORM = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
# Below these the sums of planes cost more than the multiplications they save.
_LEAST_DEPTH = 16
_LEAST_CHANNELS = 16
# Of float32, so that the sums of planes stay in the processor's cache.
_CACHED_VALUES = 2**19


def pays(volumes: Tensor, kernel: Tensor) -> bool:
    """Whether `convolve` can take (b, c, d, h, w) and a kernel, and is faster than the library there."""
    if volumes.device.type != "cpu" or volumes.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return False
    depth = volumes.shape[-3]
    return depth % _TILE == 0 and depth >= _LEAST_DEPTH and min(kernel.shape[:2]) >= _LEAST_CHANNELS


def convolve(volumes: Tensor, kernel: Tensor) -> Tensor:
    """Convolve as `conv3d(volumes, kernel, padding=1)` does.

    Parameters
    ----------
    volumes
        (b, c, d, h, w) float32, best in the `channels_last_3d` layout; d must divide by 4.
    kernel
        (out, c, 3, 3, 3).

    Returns
    -------
    (b, out, d, h, w) in the `channels_last_3d` layout; differentiable once.
    """
    result: Tensor = _ConvolutionStep.apply(volumes, kernel)  # type: ignore[no-untyped-call]
    return result


class _ConvolutionStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, volumes: Tensor, kernel: Tensor) -> Tensor:
        """Sum planes, convolve them in two dimensions, sum the results."""
        ctx.save_for_backward(volumes, kernel)
        kernels = _kernels(kernel)
        planes = _planes(volumes)
        result = planes.new_empty(*planes.shape[:-1], kernel.shape[0])
        for some in _groups(planes):
            sums = _input_sums(planes[some])
            products = [functional.conv2d(p, k, padding=1) for p, k in zip(_images(sums), kernels, strict=True)]
            _output_planes(_rows(products, sums), result[some])
        return _volumes(result)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Go the same way back: every sum of planes is replaced by its adjoint."""
        volumes, kernel = ctx.saved_tensors
        wanted = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], False]
        kernels = _kernels(kernel)
        planes, above = _planes(volumes), _planes(gradient)
        to_planes = torch.empty_like(planes)
        to_kernels = kernel.new_zeros(_POINTS, *kernel.shape[:2], 3, 3)
        for some in _groups(planes):
            sums = _input_sums(planes[some])
            found = [
                torch.ops.aten.convolution_backward(g, p, k, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, wanted)
                for g, p, k in zip(_images(_output_adjoint(above[some])), _images(sums), kernels, strict=True)
            ]
            if wanted[0]:
                _input_adjoint(_rows([f[0] for f in found], sums), to_planes[some])
            if wanted[1]:
                to_kernels += torch.stack([f[1] for f in found])
        to_volumes = _volumes(to_planes) if wanted[0] else None
        to_kernel = torch.einsum("pz,poiyx->oizyx", _transform(kernel), to_kernels) if wanted[1] else None
        return to_volumes, to_kernel


def _groups(planes: Tensor) -> list[slice]:
    """Samples to take at a time: few enough for their sums of planes to stay in the cache."""
    count = max(1, _CACHED_VALUES // planes[0].numel())
    return [slice(start, start + count) for start in range(0, len(planes), count)]


def _planes(volumes: Tensor) -> Tensor:
    """(b, c, d, h, w) as contiguous (b, d, h, w, c)."""
    return volumes.permute(0, 2, 3, 4, 1).contiguous()


def _volumes(planes: Tensor) -> Tensor:
    return planes.permute(0, 4, 1, 2, 3)


def _images(sums: Tensor) -> list[Tensor]:
    """(6, b, tiles, h, w, c) as six batches (b * tiles, c, h, w), channels last."""
    return [part.flatten(0, 1).permute(0, 3, 1, 2) for part in sums]


def _rows(images: list[Tensor], sums: Tensor) -> list[Tensor]:
    """Undo `_images` for results with any number of channels."""
    return [part.permute(0, 2, 3, 1).contiguous().view(*sums.shape[1:-1], -1) for part in images]


def _transform(kernel: Tensor) -> Tensor:
    return torch.tensor(_KERNEL_TRANSFORM, dtype=kernel.dtype, device=kernel.device)


def _kernels(kernel: Tensor) -> list[Tensor]:
    kernels = torch.einsum("pz,oizyx->poiyx", _transform(kernel), kernel)
    return [k.contiguous(memory_format=torch.channels_last) for k in kernels]


def _input_sums(planes: Tensor) -> Tensor:
    """Sums (6, b, tiles, h, w, c) of the six planes -1 to 4 of each tile of (b, d, h, w, c); 0 outside."""
    b, d, *rest = planes.shape
    sums = planes.new_empty(_POINTS, b, d // _TILE, *rest)
    p0, p1, p2, p3 = (planes[:, index::_TILE] for index in range(_TILE))
    even, odd = torch.sub(p3, p1, alpha=4), torch.sub(p2, p0, alpha=4)
    torch.add(even, odd, out=sums[1])
    torch.sub(even, odd, out=sums[2])
    torch.sub(p3, p1, out=even)
    torch.sub(p2, p0, out=odd)
    torch.add(even, odd, alpha=2, out=sums[3])
    torch.sub(even, odd, alpha=2, out=sums[4])
    torch.sub(even, p1, alpha=4, out=sums[0])
    sums[0][:, 1:].add_(p3[:, :-1], alpha=4)
    torch.mul(odd, -4, out=sums[5]).sub_(p2)
    sums[5][:, :-1].add_(p0[:, 1:])
    return sums


def _input_adjoint(sums: list[Tensor], planes: Tensor) -> None:
    """Adjoint of `_input_sums`: fill (b, d, h, w, c) from six (b, tiles, h, w, c)."""
    first, one, two, three, four, last = sums
    p0, p1, p2, p3 = (planes[:, index::_TILE] for index in range(_TILE))
    far, near = three - four, one - two
    torch.add(near, far, alpha=2, out=p2).sub_(last, alpha=5)
    torch.sub(last, near, out=p0).mul_(4).sub_(far, alpha=2)
    p0[:, 1:].add_(last[:, :-1])
    torch.add(three, four, out=far)
    torch.add(one, two, out=near)
    torch.add(near, far, out=p3).add_(first)
    p3[:, :-1].add_(first[:, 1:], alpha=4)
    torch.add(far, near, alpha=4, out=p1).add_(first, alpha=5).neg_()


def _output_planes(products: list[Tensor], planes: Tensor) -> None:
    """Fill planes (b, d, h, w, c) from the results of the six convolutions (b, tiles, h, w, c)."""
    first, one, two, three, four, last = products
    p0, p1, p2, p3 = (planes[:, index::_TILE] for index in range(_TILE))
    near, far = one + two, three + four
    torch.add(near, far, out=p0).add_(first)
    torch.add(near, far, alpha=4, out=p2)
    torch.sub(one, two, out=near)
    torch.sub(three, four, out=far)
    torch.add(near, far, alpha=2, out=p1)
    torch.add(near, far, alpha=8, out=p3).add_(last)


def _output_adjoint(planes: Tensor) -> Tensor:
    """Adjoint of `_output_planes`: (6, b, tiles, h, w, c) of (b, d, h, w, c)."""
    b, d, *rest = planes.shape
    products = planes.new_empty(_POINTS, b, d // _TILE, *rest)
    p0, p1, p2, p3 = (planes[:, index::_TILE] for index in range(_TILE))
    products[0].copy_(p0)
    products[5].copy_(p3)
    even, odd = p0 + p2, p1 + p3
    torch.add(even, odd, out=products[1])
    torch.sub(even, odd, out=products[2])
    torch.add(p0, p2, alpha=4, out=even)
    torch.add(p1, p3, alpha=4, out=odd)
    torch.add(even, odd, alpha=2, out=products[3])
    torch.sub(even, odd, alpha=2, out=products[4])
    return products
