"""Exact sums over spherical caps of one-voxel shells: the machinery under the 3DFSC. Knows nothing of what it sums.

A cap holds the voxels of shell i within a chord distance of its centre, itself a voxel of the shell. Centres and
members are integer points, so the ball about every centre has the same integer offsets, and the cap sum is one
small stencil applied to the shell. The stencil is walked column by column: prefix sums along the axis on which a
centre's coordinate is largest turn each column of the ball into two look-ups, whose index is the centre's own plus a
constant. Nothing is rounded or interpolated: every membership test is a comparison of integers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

# Width in columns of the tiles that centres are grouped into on a CPU; on other devices a shell's face is few tiles.
_TILE = 36
# Look-ups per operation. On a CPU they stay in the cache and are too few for torch to split, so that the shells share
# the cores without a fight; other devices like large operations.
_CPU_BATCH = 1 << 15
_DEVICE_BATCH = 1 << 24

# Up to this shell tables are float64: a cap of a few weak voxels must not drown in the rounding of a strong neighbour.
_FLOAT64_UP_TO = 32
# Indices are 32-bit for speed; a table of that many entries would take 8 GB.
_INDEX = torch.int32

# The three views of a (z, y, x) cube in which z, y or x in turn is the last axis.
_FACES = ((1, 2, 0), (0, 2, 1), (0, 1, 2))


def squared_chord_limit(shell: int, half_angle_deg: float) -> int:
    """Largest squared distance, in pixels, from the centre of a cap of a shell to a member.

    The chord of the half-angle is 2 sin(angle/2) shell. Squared distances between voxels are integers, so the test
    is one of integers; a voxel exactly on the rim (angle 60 degrees, say) belongs to the cap.
    """
    chord = 2.0 * math.sin(math.radians(half_angle_deg) / 2.0) * shell
    return math.floor(chord * chord + 1e-6)


@dataclass(frozen=True)
class _Grid:
    """Where a shell's tables lie, seen along its last axis: (width, width) columns of `height` entries."""

    shell: int
    side: int  # half-width of the tables along the first two axes
    bottom: int  # last-axis coordinate of a column's first voxel
    height: int  # entries of a column of prefix sums

    @property
    def width(self) -> int:
        return 2 * self.side + 1


@dataclass(frozen=True)
class _Plan:
    """The look-ups that make the cap sums of one tile of centres: places relative to each centre's own.

    A column (da, db) of the ball about a centre holds the heights c - s to c + s; its part of the shell is a
    difference of two prefix sums. Over a tile many columns are settled in advance: the ball's top is above the
    shell (then the upper prefix sum is the whole column's, and runs of whole columns are differences of sums along
    a row), its bottom below it (then there is nothing to take off), or the shell passes it by.
    """

    where: Tensor  # (m,) int64: which centres
    place: Tensor  # (m,) int64: the centre in the flat table of columns
    row_place: Tensor  # (m,) int64: the centre in the flat table of rows
    ends: Tensor  # (k,) each
    starts: Tensor
    run_ends: Tensor
    run_starts: Tensor


def _shell_mask(a: Tensor, b: Tensor, c: Tensor, shell: int) -> Tensor:
    """Which points of the grid a x b x c round to the shell: i*i - i < r*r <= i*i + i in integers."""
    squared = a.view(-1, 1, 1) ** 2 + b.view(1, -1, 1) ** 2 + c.view(1, 1, -1) ** 2
    return (squared > shell * shell - shell) & (squared <= shell * shell + shell)


def _centres(shell: int, device: torch.device) -> Tensor:
    """Voxels (m, 3) int64 of a shell whose last coordinate is positive and the largest in size."""
    widest = min(shell, math.ceil((shell + 0.5) / math.sqrt(2.0)))
    lowest = max(1, math.floor((shell - 0.5) / math.sqrt(3.0)))
    across = torch.arange(-widest, widest + 1, device=device, dtype=torch.int32)
    along = torch.arange(lowest, shell + 1, device=device, dtype=torch.int32)
    mask = _shell_mask(across, across, along, shell)
    mask &= across.abs().view(-1, 1, 1) <= along
    mask &= across.abs().view(1, -1, 1) <= along
    return mask.nonzero() + torch.tensor([-widest, -widest, lowest], device=device)


def _ball_columns(limit: int) -> tuple[Tensor, Tensor]:
    """Offsets (w,) along an axis and half-heights s (w, w) of the columns of a ball; -1 where there is no column."""
    reach = math.isqrt(limit)
    offsets = torch.arange(-reach, reach + 1)
    rest = limit - offsets.view(-1, 1) ** 2 - offsets.view(1, -1) ** 2
    return offsets, torch.where(rest >= 0, rest.clamp(min=0).double().sqrt().floor().long(), -1)


def _plan(grid: _Grid, centres: Tensor, where: Tensor, limit: int) -> _Plan:
    """Settle the ball's columns for the centres (m, 3) of one tile."""
    offsets, s = _ball_columns(limit)
    da, db = offsets.view(-1, 1), offsets.view(1, -1)
    (a0, b0, c0), (a1, b1, c1) = centres.amin(0).tolist(), centres.amax(0).tolist()
    present = s >= 0
    if grid.bottom > 0:
        # Squared heights of shell voxels in a column differ from the centre's by -q, give or take the thickness.
        thick = 2 * grid.shell - 1
        q_low = 2 * (torch.minimum(da * a0, da * a1) + torch.minimum(db * b0, db * b1)) + da**2 + db**2
        q_high = 2 * (torch.maximum(da * a0, da * a1) + torch.maximum(db * b0, db * b1)) + da**2 + db**2
        under_top = thick - q_low <= 2 * c0 * s + s**2
        over_bottom = -thick - q_high >= s**2 - 2 * c0 * s
        present &= (-thick - q_high <= 2 * c1 * s + s**2) & (thick - q_low >= s**2 - 2 * c1 * s)
    else:
        # The ball may reach the far side of the sphere: a column can hold two pieces of shell.
        under_top = over_bottom = torch.zeros_like(present)
    column = (da * grid.width + db) * grid.height
    whole = torch.nn.functional.pad((present & under_top).int(), (1, 1))
    edges = whole.diff(dim=1)
    row = da * (grid.width + 1) + torch.arange(int(offsets[0]), int(offsets[-1]) + 2)
    a, b, c = centres.to(_INDEX).unbind(1)
    return _Plan(
        where=where,
        place=((a + grid.side) * grid.width + (b + grid.side)) * grid.height + (c - grid.bottom),
        row_place=(a + grid.side) * (grid.width + 1) + (b + grid.side),
        ends=(column + s + 1)[present & ~under_top].to(a),
        starts=(column - s)[present & ~over_bottom].to(a),
        run_ends=row[edges < 0].to(a),
        run_starts=row[edges > 0].to(a),
    )


def _plans(shell: int, half_angle_deg: float, tile: int, centres: Tensor) -> tuple[_Grid, list[_Plan]]:
    """Geometry of a shell, the same for its three faces."""
    limit = squared_chord_limit(shell, half_angle_deg)
    reach = math.isqrt(limit)
    side = int(centres[:, :2].abs().max()) + reach
    bottom = int(centres[:, 2].min()) - reach
    grid = _Grid(shell, side, bottom, shell + reach - bottom + 2)
    key = torch.div(centres[:, 0], tile, rounding_mode="floor") * 4096
    key += torch.div(centres[:, 1], tile, rounding_mode="floor")
    order = key.argsort(stable=True)
    parts = torch.tensor_split(order, (key[order].diff().nonzero().view(-1) + 1).tolist())
    return grid, [_plan(grid, centres[where], where, limit) for where in parts]


def _shell_part(grid: _Grid, device: torch.device) -> tuple[Tensor, slice, slice]:
    """Mask of the shell's voxels within reach, and the coordinates it spans: across (both ways) and along."""
    span = min(grid.side, grid.shell)
    low = max(grid.bottom, -grid.shell)
    across = torch.arange(-span, span + 1, device=device, dtype=torch.int32)
    along = torch.arange(low, grid.shell + 1, device=device, dtype=torch.int32)
    mask = _shell_mask(across, across, along, grid.shell)
    return mask, slice(-span, span + 1), slice(low, grid.shell + 1)


def _tables(inside: Tensor, grid: _Grid, across: slice, along: slice) -> tuple[Tensor, Tensor]:
    """Prefix sums of the shell's values: along columns, and (float64) of whole columns along rows; both flat."""
    columns = inside.new_zeros((grid.width, grid.width, grid.height))
    put = slice(across.start + grid.side, across.stop + grid.side)
    first, last = along.start - grid.bottom + 1, along.stop - grid.bottom + 1
    part = columns[put, put]
    torch.cumsum(inside, dim=-1, out=part[..., first:last])
    part[..., last:] = part[..., last - 1 : last]
    along_rows = torch.zeros((grid.width, grid.width + 1), device=inside.device, dtype=torch.float64)
    torch.cumsum(columns[..., -1], dim=1, dtype=torch.float64, out=along_rows[:, 1:])
    return columns.view(-1), along_rows.view(-1)


def _gathered(tables: Sequence[Tensor], place: Tensor, shifts: Tensor) -> list[Tensor]:
    """Sum over shifts of table[place + shift], (m,) for each table."""
    totals = [torch.zeros(place.numel(), dtype=table.dtype, device=table.device) for table in tables]
    batch = _CPU_BATCH if place.device.type == "cpu" else _DEVICE_BATCH
    rows = max(1, batch // place.numel())
    for start in range(0, shifts.numel(), rows):
        part = shifts[start : start + rows]
        places = (part.view(-1, 1) + place).view(-1)
        for table, total in zip(tables, totals, strict=True):
            total += table.index_select(0, places).view(part.numel(), place.numel()).sum(0)
    return totals


def _sums(plan: _Plan, columns: Sequence[Tensor], along_rows: Sequence[Tensor]) -> Tensor:
    """Cap sums (tables, m) about the centres of one tile."""
    terms = (
        _gathered(along_rows, plan.row_place, plan.run_ends),
        _gathered(along_rows, plan.row_place, plan.run_starts),
        _gathered(columns, plan.place, plan.ends),
        _gathered(columns, plan.place, plan.starts),
    )
    return torch.stack([up - down + end - start for up, down, end, start in zip(*terms, strict=True)])


@dataclass(frozen=True)
class ShellCaps:
    """Cap sums about the voxels of one face of a shell.

    `points` (m, 3) are z, y, x; the other half of the shell are their Friedel mates. `sums` (fields, m) and
    `counts` (m,) float32. A voxel on the border of two faces is in both, with equal sums up to rounding.
    """

    points: Tensor
    sums: Tensor
    counts: Tensor


def _shell_caps(fields: Sequence[Tensor], shell: int, half_angle_deg: float) -> list[ShellCaps]:
    device = fields[0].device
    centres = _centres(shell, device)
    grid, plans = _plans(shell, half_angle_deg, _TILE if device.type == "cpu" else 2 * shell + 1, centres)
    mask, across, along = _shell_part(grid, device)
    middle = fields[0].shape[0] // 2
    rows = slice(across.start + middle, across.stop + middle)
    heights = slice(along.start + middle, along.stop + middle)
    dtype = torch.float64 if shell <= _FLOAT64_UP_TO else fields[0].dtype
    views = [field.permute(order)[rows, rows, heights] for order in _FACES for field in fields]
    tables = [_tables(view.to(dtype) * mask, grid, across, along) for view in views]
    tables.append(_tables(mask.to(dtype), grid, across, along))
    columns, along_rows = zip(*tables, strict=True)
    sums = fields[0].new_empty((len(tables), centres.shape[0]))
    for plan in plans:
        sums[:, plan.where] = _sums(plan, columns, along_rows).to(sums.dtype)
    caps = []
    for face, order in enumerate(_FACES):
        points = centres[:, [order.index(axis) for axis in range(3)]]
        caps.append(ShellCaps(points, sums[face * len(fields) : (face + 1) * len(fields)], sums[-1]))
    return caps


def cap_sums(fields: Sequence[Tensor], shells: Sequence[int], half_angle_deg: float) -> Iterator[ShellCaps]:
    """Sum each field over the cap about every voxel of half of each shell (the rest is its mirror image).

    Parameters
    ----------
    fields
        Real cubes (2 L + 1, 2 L + 1, 2 L + 1), z, y, x, frequency 0 in the middle, equal at k and -k.
    shells
        Shell numbers, 1 to L.
    half_angle_deg
        Half-angle of the one-sided cap in degrees, over 0 and up to 90.

    Yields
    ------
    ShellCaps
        Three per shell, in no particular order of shells.
    """
    if not 0.0 < half_angle_deg <= 90.0:
        raise ValueError(f"the half-angle of a cap must be over 0 and up to 90 degrees, got {half_angle_deg}")
    threads = torch.get_num_threads() if fields[0].device.type == "cpu" else 1
    largest_first = sorted(shells, reverse=True)
    if threads == 1:
        for shell in largest_first:
            yield from _shell_caps(fields, shell, half_angle_deg)
        return
    with ThreadPoolExecutor(threads) as pool:
        for caps in pool.map(lambda shell: _shell_caps(fields, shell, half_angle_deg), largest_first):
            yield from caps
