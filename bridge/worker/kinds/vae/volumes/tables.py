"""Tables of `vae.volumes`."""

from __future__ import annotations

from collections.abc import Sequence

from cryobridge.core.fourier import resolution
from cryobridge.core.latent import Nearness

from ....heterogeneity.finishing import Finishing
from ....heterogeneity.run_folder import Latents
from ....heterogeneity.series import HALF
from .series import Neighbours


def volume_table(names: Sequence[str], z: Latents, near: Nearness | None) -> str:
    """A row for each volume: its file, latent, nearest particle, the distance from it, and particles about it."""
    rows = [",".join(("file", *(f"z{axis}" for axis in range(1, z.shape[1] + 1)), *_NEAR))]
    for place, (name, latent) in enumerate(zip(names, z.tolist(), strict=True)):
        told = ("", "", "", "")
        if near is not None:
            told = (
                str(near.nearest[place]),
                f"{near.distance[place]:.6g}",
                str(near.within_edge[place]),
                "yes" if near.off_data[place] else "no",
            )
        rows.append(",".join((name, *(f"{value:.8g}" for value in latent), *told)))
    return "\n".join(rows) + "\n"


def neighbour_table(names: Sequence[str], neighbours: Sequence[Neighbours], finishing: Finishing) -> str:
    """A row for each two neighbours: how alike they are, and where their FSC falls below 0.5."""
    rows = ["first,second,correlation,change,differ_from_A"]
    for first, second, found in zip(names, names[1:], neighbours, strict=False):
        rows.append(
            f"{first},{second},{found.correlation:.6f},{found.change:.6f},{differ_from_A(found, finishing):.4f}"
        )
    return "\n".join(rows) + "\n"


def differ_from_A(found: Neighbours, finishing: Finishing) -> float:
    """Resolution in Angstrom from which on two neighbours differ, or of the last shell where they never do."""
    return resolution(found.curve, finishing.voxel_size_A, HALF, box=finishing.box)


_NEAR = ("nearest_particle", "distance", "particles_within", "off_the_data")
