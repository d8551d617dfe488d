"""`map.correct`: the files that a finished correction leaves, besides its page."""

from __future__ import annotations

from cryobridge.wrappers.formats.mrc_label import write_label

from ....jobs.folder import OutputFolder
from ....jobs.tables import curve_table, loss_table
from .correction import Correction
from .looking import DISPLAY, DISPLAY_LABEL
from .report import script


def write(correction: Correction, folder: OutputFolder) -> None:
    """Write maps, the network, tables and the script."""
    _write_maps(correction, folder)
    folder.write_tensors("network.safetensors", correction.trained[0].network)
    folder.write_text(
        "loss.csv", loss_table([one.record for one in correction.trained], correction.network.held_out_every)
    )
    _write_tables(correction, folder)
    folder.write_text("corrected.cxc", script(correction))


def _write_maps(correction: Correction, folder: OutputFolder) -> None:
    found, voxel_A = correction.found, correction.prepared.pair.voxel_size_A
    maps = {
        "corrected_half1.mrc": found.half1,
        "corrected_half2.mrc": found.half2,
        "corrected.mrc": found.mean,
        "spread.mrc": found.spread,
        **correction.looking.maps,
    }
    for name, volume in maps.items():
        if volume is not None:
            folder.write_map(name, volume, voxel_A, correction.prepared.pair.position)
    if DISPLAY in correction.looking.maps:
        write_label(folder.path / DISPLAY, DISPLAY_LABEL)


def _write_tables(correction: Correction, folder: OutputFolder) -> None:
    prepared, found, measures = correction.prepared, correction.found, correction.measures
    box, voxel_A = prepared.pair.box, prepared.pair.voxel_size_A
    after = "corrected_not_a_resolution" if correction.network.mode == "shared" else "corrected"
    step_deg = 90 / found.change.shape[1]
    tables = {
        "fsc.csv": {"fsc": prepared.measured.curve, f"fsc_{after}": found.fsc_after},
        "change.csv": {
            f"changed_{step_deg * number:.0f}_to_{step_deg * (number + 1):.0f}_deg": column
            for number, column in enumerate(found.change.T)
        },
        "cones.csv": {
            "worst": measures.cones_before[0],
            f"worst_{after}": measures.cones_after[0],
            "best": measures.cones_before[1],
            f"best_{after}": measures.cones_after[1],
        },
        "amplitudes.csv": vars(measures.amplitudes),
    }
    for name, curves in tables.items():
        folder.write_text(name, curve_table(curves, box, voxel_A))
    folder.write_text("directions.csv", measures.directions_table())
