"""A notebook beside the analysis: loads what was found with numpy and matplotlib alone, and draws, filters, saves."""

from __future__ import annotations

import json
from typing import Any

_CELLS = (
    (
        "markdown",
        "# Latents, clusters and a selection\n\nWritten by cryobridge beside `analysis.npz`. Needs numpy and "
        "matplotlib. Particles are counted from 0, in the order of the run.",
    ),
    (
        "code",
        "import numpy as np\nimport matplotlib.pyplot as plt\nfrom matplotlib.path import Path as Outline\n\n"
        "analysis = np.load('analysis.npz')\nz, pc = analysis['z'], analysis['pc']\n"
        "cluster, density = analysis['cluster'], analysis['density']\ncentre = analysis['cluster_centre']\n"
        "# The plane that is drawn: UMAP where there is one, else components.\n"
        "second = pc[:, 1] if pc.shape[1] > 1 else density\n"
        "plane = analysis['umap'] if 'umap' in analysis else np.column_stack([pc[:, 0], second])\n"
        "print(len(z), 'particles,', z.shape[1], 'latent dimensions,', len(centre), 'clusters')",
    ),
    (
        "code",
        "figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5))\n"
        "left.hexbin(*plane.T, gridsize=50, bins='log', mincnt=1)\n"
        "right.scatter(*plane.T, c=cluster, s=2, cmap='turbo')\n"
        "for number, (x, y) in enumerate(plane[centre]):\n    right.annotate(str(number), (x, y))\nplt.show()",
    ),
    (
        "code",
        "def read_map(name):\n"
        '    """A map of this folder, axes z, y, x, and its voxel size in Angstrom."""\n'
        "    with open(name, 'rb') as file:\n        header = file.read(1024)\n"
        "        n = np.frombuffer(header, '<i4', 3)\n        extended = np.frombuffer(header, '<i4', 1, 92)[0]\n"
        "        cell = np.frombuffer(header, '<f4', 3, 40)\n        file.seek(1024 + extended)\n"
        "        values = np.frombuffer(file.read(), '<f4', int(n.prod()))\n"
        "    return values.reshape(n[::-1]), float(cell[0] / n[0])",
    ),
    ("markdown", "## Choose particles\n\nBy cluster, by density, or by an outline in the plane; change what you need."),
    (
        "code",
        "wanted = np.ones(len(z), bool)\n# wanted &= np.isin(cluster, [0, 3])\n"
        "# wanted &= density > np.quantile(density, 0.05)\n"
        "# wanted &= Outline([(-1, -1), (1, -1), (1, 1)]).contains_points(plane)\n"
        "indices = np.flatnonzero(wanted)\nprint(len(indices), 'of', len(z), 'particles')",
    ),
    (
        "markdown",
        "The next cell saves them; `cryobridge vae select --run RUN --indices selected.npz` writes tables for "
        "RELION and CryoSPARC.",
    ),
    ("code", "np.savez('selected.npz', indices=indices)"),
)


def notebook_text() -> str:
    """The notebook, format 4.5."""
    cells: list[dict[str, Any]] = []
    for number, (kind, source) in enumerate(_CELLS):
        cell: dict[str, Any] = {
            "cell_type": kind,
            "id": f"cell-{number}",
            "metadata": {},
            "source": source.splitlines(keepends=True),
        }
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        cells.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1) + "\n"
