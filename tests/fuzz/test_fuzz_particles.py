"""Tables and STAR files of particles whose columns hold anything: converted, or refused in one sentence."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.spread_particles import spread_particles

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats import star
from cryobridge.wrappers.formats.cs_table import read_table, write_table
from cryobridge.wrappers.particles.from_cryosparc import relion_tables, star_blocks
from cryobridge.wrappers.particles.from_relion import cryosparc_table

ROWS = 3
GOOD = spread_particles(ROWS) | {
    "ctf/tilt_A": np.ones((ROWS, 2), np.float32),
    "ctf/anisomag": np.ones((ROWS, 4), np.float32),
    "ctf/trefoil_A": np.ones((ROWS, 2), np.float32),
    "location/micrograph_path": np.array(["m.mrc"] * ROWS),
    "location/micrograph_shape": np.full((ROWS, 2), 100, np.uint32),
    "location/center_x_frac": np.full(ROWS, 0.5),
    "location/center_y_frac": np.full(ROWS, 0.5),
    "alignments3D_multi/pose": np.zeros((ROWS, 2, 3)),
    "alignments3D_multi/shift": np.zeros((ROWS, 2, 2)),
    "alignments3D_multi/class_posterior": np.zeros((ROWS, 2)),
    "alignments3D_multi/psize_A": np.ones(ROWS),
}
TYPES = ["<f4", "<f8", "<u4", "<u8", "<i4", "?", "S3", "<c8", "<M8[s]"]


@st.composite
def wrong_columns(draw: st.DrawFn) -> dict[str, np.ndarray]:
    columns = dict(GOOD)
    for name in draw(st.lists(st.sampled_from(sorted(GOOD)), min_size=1, max_size=3)):
        shape = (ROWS, *draw(st.lists(st.integers(0, 4), max_size=2)))
        columns[name] = draw(hnp.arrays(np.dtype(draw(st.sampled_from(TYPES))), shape))
    for name in draw(st.lists(st.sampled_from(sorted(GOOD)), max_size=2)):
        columns.pop(name, None)
    return columns


@given(wrong_columns(), st.sampled_from(["refinement", "classes", "none"]))
def test_any_columns_of_a_table_are_converted_or_refused(columns: dict[str, np.ndarray], alignment: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.cs"
        try:
            write_table(path, columns)
        except ValueError:
            np.save(path.open("wb"), np.zeros(ROWS))
        try:
            tables = relion_tables(read_table(path), "t.cs", alignment)  # type: ignore[arg-type]
        except InputInvalid as error:
            sentence = str(error)
        else:
            sentence = ""
        if sentence:
            assert "t.cs" in sentence
            assert "\n" not in sentence
            return
        text = star.format_blocks(star_blocks(tables))
        assert not {"nan", "-nan", "inf", "-inf"} & set(text.lower().split())
        assert star.parse(text.encode(), "p.star").block("particles").n_rows == ROWS


LABELS = [
    "rlnImageName", "rlnOpticsGroup", "rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginX",
    "rlnRandomSubset", "rlnClassNumber", "rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle", "rlnVoltage", "cryosparcUid",
    "rlnSphericalAberration", "rlnAmplitudeContrast", "rlnBeamTiltX", "rlnMagMat00", "rlnImagePixelSize",
    "rlnImageSize", "rlnDetectorPixelSize", "rlnMagnification", "rlnImageDimensionality", "rlnPhaseShift",
]  # fmt: skip
CELL = st.sampled_from(
    [
        "1",
        "2",
        "0",
        "-1",
        "64",
        "1.5",
        "1@a.mrcs",
        "0@a.mrcs",
        "1e400",
        "1e39",
        "1e300",
        "1e-40",
        "nan",
        "x",
        "-999",
        "1e30",
        "1_0",
    ]
)


@given(st.data())
def test_any_cells_of_a_star_file_are_converted_or_refused(data: st.DataObject) -> None:
    labels = data.draw(st.lists(st.sampled_from(LABELS), min_size=1, unique=True))
    cells = [[data.draw(CELL) for _ in labels] for _ in range(2)]
    for row in cells:
        if "rlnImageName" in labels and data.draw(st.integers(0, 3)):
            row[labels.index("rlnImageName")] = "3@a.mrcs"
    heads = "".join(f"_{label}\n" for label in labels)
    text = "data_particles\n\nloop_\n" + heads + "".join(" ".join(row) + "\n" for row in cells)
    try:
        found = cryosparc_table(
            star.parse(text.encode(), "p.star").blocks, "p.star", data.draw(st.sampled_from([None, 1.0])), 64
        )
    except InputInvalid as error:
        sentence = str(error)
    else:
        sentence = ""
    if sentence:
        assert sentence.startswith("p.star: ")
        return
    assert all(len(values) == 2 for values in found.columns.values())
    for name, values in found.columns.items():
        if values.dtype.kind == "f":
            assert np.isfinite(values).all(), name
