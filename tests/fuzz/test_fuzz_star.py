"""Damaged STAR files: refused by name, or a table whose rows were counted; never a hang or another error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats import star
from cryobridge.wrappers.relion import sums

BOX = 12
GOOD = "\n# version 30001\n\ndata_external_reconstruct_general\n\n" + "".join(
    f"_{key} {value}\n"
    for key, value in {
        "rlnExtReconsDataReal": "a_data_real.mrc",
        "rlnExtReconsDataImag": "a_data_imag.mrc",
        "rlnExtReconsWeight": "a_weight.mrc",
        "rlnExtReconsResult": "a.mrc",
        "rlnTau2FudgeFactor": 1.0,
        "rlnPaddingFactor": 2.0,
        "rlnReferenceDimensionality": 3,
        "rlnOriginalImageSize": BOX,
        "rlnCurrentImageSize": 10,
    }.items()
)
GOOD += (
    "\n\ndata_external_reconstruct_tau2\n\nloop_\n_rlnSpectralIndex #1\n_rlnReferenceTau2 #2\n_rlnGoldStandardFsc #3\n"
)
GOOD += "".join(f"{i:12d} {1.5 / (i + 1):12.6f} {1 / (i + 1):12.6f}\n" for i in range(BOX // 2 + 1)) + "\n"
RAW = GOOD.encode()
PIECES = [
    "loop_",
    "data_",
    "data_x\n",
    "_rln ",
    "\n;\n",
    "'",
    '"',
    "#",
    "nan",
    "-1",
    "1e308",
    "\t",
    "\n",
    "save_",
    "\xe4",
]

edits = st.lists(
    st.tuples(st.integers(0, len(RAW)), st.integers(0, 40), st.sampled_from(PIECES) | st.text(max_size=4)), max_size=4
)


def edit(changes: list[tuple[int, int, str]], cut: int | None) -> bytes:
    raw = RAW
    for start, length, text in changes:
        raw = raw[:start] + text.encode("utf-8", "surrogatepass") + raw[start + length :]
    return raw[:cut]


@given(edits, st.none() | st.integers(0, len(RAW)))
def test_damaged_call_is_refused_or_makes_sense(
    tmp_path: Path, changes: list[tuple[int, int, str]], cut: int | None
) -> None:
    path = tmp_path / "fuzz.star"
    path.write_bytes(edit(changes, cut))
    said = None
    try:
        found = sums.read_description(path)
    except InputInvalid as refused:
        said = str(refused)
    if said is not None:
        assert said.startswith(str(path))
        assert "\n" not in said
        return
    assert len(found.tau2) == len(found.fsc) == found.geometry.box // 2 + 1
    assert np.isfinite(found.tau2).all()
    assert (found.tau2 >= 0).all()
    assert np.isfinite(found.fsc).all()
    assert max(found.geometry.sums_shape) <= sums.MAX_BOX * sums.MAX_PADDING


@given(st.integers(0, len(RAW) - 3))
def test_every_truncation_of_a_call_is_refused(tmp_path: Path, size: int) -> None:
    """The libraries accept most of these."""
    path = tmp_path / "fuzz.star"
    path.write_bytes(RAW[:size])
    try:
        sums.read_description(path)
    except InputInvalid:
        return
    raise AssertionError(f"a file cut at {size} of {len(RAW)} bytes was accepted")


@given(st.binary(max_size=500))
def test_any_bytes_are_refused_or_read(raw: bytes) -> None:
    said = "fuzz.star"
    try:
        star.parse(raw, "fuzz.star")
    except InputInvalid as refused:
        said = str(refused)
    assert said.startswith("fuzz.star")


@given(
    st.dictionaries(
        st.from_regex(r"rln[A-Z][a-z0-9]{1,8}", fullmatch=True),  # names differ in more than their case
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=12),
            min_size=3,
            max_size=3,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_what_was_written_is_read_back(columns: dict[str, list[str]]) -> None:
    try:
        text = star.format_blocks({"table": columns})
    except ValueError:
        assert any("'" in cell and '"' in cell for cells in columns.values() for cell in cells)
        return
    assert dict(star.parse(text.encode(), "fuzz.star").block("table").columns) == columns
