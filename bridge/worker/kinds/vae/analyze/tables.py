"""Tables and arrays of `vae.analyze`."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cryobridge.core.landscape import LatentAgreement
from cryobridge.wrappers.formats.array_file import arrays_bytes

from .findings import LatentFindings, VolumeComponents

_MOST_LISTED = 8
"""Components that are listed by particle."""


def analysis_arrays(
    found: LatentFindings, volumes: VolumeComponents | None, umap: NDArray[np.float64] | None
) -> dict[str, NDArray[np.generic]]:
    """By image, row i of image i of the run: z, pc, cluster, density, and what else there is; and the centres' rows."""
    of_row = found.objects.of_row
    arrays: dict[str, NDArray[np.generic]] = {
        "z": found.latents[of_row].astype(np.float32),
        "pc": found.scores[of_row].astype(np.float32),
        "cluster": found.clusters.labels[of_row].astype(np.int32),
        "density": found.density[of_row].astype(np.float32),
        "cluster_centre": found.objects.firsts[found.clusters.centres],
        "pc_axes": found.components.axes,
        "pc_mean": found.components.mean,
    }
    if volumes is not None:
        arrays["volume_pc"] = volumes.scores[of_row].astype(np.float32)
    if umap is not None:
        arrays["umap"] = umap[of_row].astype(np.float32)
    return arrays


def analysis_bytes(found: LatentFindings, volumes: VolumeComponents | None, umap: NDArray[np.float64] | None) -> bytes:
    """The arrays as `.npz`."""
    return arrays_bytes(analysis_arrays(found, volumes, umap))


def cluster_table(found: LatentFindings) -> str:
    """A row for each cluster: particles, their share, the row of the centre's particle, and its latent."""
    counts, centres = found.clusters.counts, found.clusters.centres
    rows = [",".join(("cluster", "particles", "share", "centre", *_names("z", found.latents.shape[1])))]
    for number, (count, centre) in enumerate(zip(counts.tolist(), centres.tolist(), strict=True)):
        latent = (f"{value:.8g}" for value in found.latents[centre])
        row = str(found.objects.firsts[centre])
        rows.append(",".join((str(number), str(count), f"{count / counts.sum():.6f}", row, *latent)))
    return "\n".join(rows) + "\n"


def particle_table(found: LatentFindings) -> str:
    """A row for each image: its number from 0 on, and its particle's cluster, density, and first components."""
    of_row = found.objects.of_row
    listed = found.scores[of_row, :_MOST_LISTED]
    columns = np.column_stack([np.arange(len(listed)), found.clusters.labels[of_row], found.density[of_row], listed])
    text = io.StringIO()
    text.write(",".join(("particle", "cluster", "log_density", *_names("pc", listed.shape[1]))) + "\n")
    np.savetxt(text, columns, fmt=["%d", "%d", *["%.6g"] * (1 + listed.shape[1])], delimiter=",")
    return text.getvalue()


def component_table(found: LatentFindings, volumes: VolumeComponents | None) -> str:
    """A row for each component: variance of the latents along it, its share, and that between volumes."""
    rows = ["component,latent_variance,latent_share,volume_share"]
    shares = [] if volumes is None else volumes.shares.tolist()
    for number, variance in enumerate(found.components.variances):
        of_volumes = f"{shares[number]:.6f}" if number < len(shares) else ""
        rows.append(f"{number + 1},{variance:.6g},{found.components.shares[number]:.6f},{of_volumes}")
    return "\n".join(rows) + "\n"


def correlation_table(found: LatentFindings) -> str:
    """A row for each component and covariate: rank correlation, or the share of variance between groups."""
    rows = ["component,covariate,strength,warned"]
    rows += [
        f"{one.component},{one.covariate},{one.strength:.6f},{'yes' if one.is_strong else 'no'}"
        for one in found.dependences
    ]
    return "\n".join(rows) + "\n"


def epoch_table(found: Sequence[tuple[int, int, LatentAgreement]]) -> str:
    """A row for each two epochs: canonical correlation (mean), Procrustes, shared neighbours, clusters."""
    rows = ["first,second,canonical_correlation,procrustes,shared_neighbours,clusters"]
    for first, second, alike in found:
        rows.append(
            f"{first},{second},{float(alike.canonical.mean()):.6f},{alike.procrustes:.6f},{alike.neighbours:.6f},"
            f"{alike.labels:.6f}"
        )
    return "\n".join(rows) + "\n"


def _names(stem: str, count: int) -> list[str]:
    return [f"{stem}{number}" for number in range(1, count + 1)]
