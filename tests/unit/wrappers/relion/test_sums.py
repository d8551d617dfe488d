"""A call's input: both layouts are understood, and everything the stock program would silently swallow is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats import mrc, star
from cryobridge.wrappers.relion import sums

BOX, CURRENT = 8, 6
P = 2 * BOX
SHAPE = (P, P, P // 2 + 1)
ROOT = "run_it012_half2_class001_external_reconstruct"


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A call as RELION 3.1 writes it, names relative to the current folder."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for part in ("data_real", "data_imag", "weight"):
        mrc.write_atomically(f"{ROOT}_{part}.mrc", generator.random(SHAPE).astype(np.float32), 1.0)
    write_star()
    return tmp_path / f"{ROOT}.star"


def write_star(*, newer: bool = False, rows: int = BOX // 2 + 1, **changed: object) -> None:
    items = {
        "rlnExtReconsDataReal": f"{ROOT}_data_real.mrc",
        "rlnExtReconsDataImag": f"{ROOT}_data_imag.mrc",
        "rlnExtReconsWeight": f"{ROOT}_weight.mrc",
        "rlnExtReconsResult": f"{ROOT}.mrc",
        "rlnTau2FudgeFactor": 4.0,
        "rlnPaddingFactor": 2.0,
        "rlnReferenceDimensionality": 3,
        "rlnOriginalImageSize": BOX,
        "rlnCurrentImageSize": CURRENT,
        **({"rlnPixelSize": 2.8, "rlnParticleDiameter": 150.0} if newer else {}),
    }
    table = {
        "rlnSpectralIndex": [*range(rows)],
        "rlnReferenceTau2": [1.0 / (1 + i) for i in range(rows)],
        "rlnGoldStandardFsc": [0.5] * rows,
    }
    for key, value in changed.items():
        (table if key in table else items)[key] = value
    present = {key: value for key, value in items.items() if value is not None}
    star.write_atomically(f"{ROOT}.star", {"external_reconstruct_general": present, "external_reconstruct_tau2": table})


def test_volumes_go_into_the_tensors(call: Path) -> None:
    found = sums.read_call(call)
    np.testing.assert_array_equal(found.data.real.numpy(), mrc.read(f"{ROOT}_data_real.mrc")[0])
    np.testing.assert_array_equal(found.data.imag.numpy(), mrc.read(f"{ROOT}_data_imag.mrc")[0])
    np.testing.assert_array_equal(found.weight.numpy(), mrc.read(f"{ROOT}_weight.mrc")[0])
    assert found.description.geometry == sums.SumsGeometry(BOX, 2.0, CURRENT)
    assert found.description.fudge == 4.0


def test_layout_tells_the_calling_relion_and_its_style(call: Path) -> None:
    older = sums.read_description(call)
    assert (older.is_relion4_or_newer, older.style, older.pixel_size_A) == (False, "relion3", None)
    write_star(newer=True)
    newer = sums.read_description(call)
    assert (newer.is_relion4_or_newer, newer.style, newer.pixel_size_A) == (True, "relion5", 2.8)
    assert newer.particle_diameter_A == 150.0


def test_volumes_beside_the_star_file_are_found(call: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert sums.read_call(call).weight.shape == SHAPE


def test_descriptors_are_enough(call: Path) -> None:
    names = [f"{ROOT}.star", *(f"{ROOT}_{part}.mrc" for part in ("data_real", "data_imag", "weight"))]
    descriptors = [os.open(name, os.O_RDONLY) for name in names]
    try:
        for name in names:
            os.unlink(name)
        description = sums.read_description(descriptors[0], name=names[0])
        assert sums.read_sums(description, *descriptors[1:]).data.shape == SHAPE
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"rows": 4}, "4 rows, 5 were expected"),
        ({"rlnSpectralIndex": [0, 1, 2, 2, 4]}, "rlnSpectralIndex"),
        ({"rlnReferenceTau2": [1, 2, -1, 2, 3]}, "negative in row 2"),
        ({"rlnReferenceTau2": [1, 2, "nan", 2, 3]}, "not a number"),
        ({"rlnGoldStandardFsc": [1, 2, "inf", 2, 3]}, "not a number"),
        ({"rlnReferenceDimensionality": 2}, "2 dimensions"),
        ({"rlnOriginalImageSize": 1 << 20}, "rlnOriginalImageSize"),
        ({"rlnCurrentImageSize": 900}, "rlnCurrentImageSize"),
        ({"rlnCurrentImageSize": 0}, "rlnCurrentImageSize"),
        ({"rlnPaddingFactor": 0.5}, "rlnPaddingFactor"),
        ({"rlnPaddingFactor": 1e9}, "rlnPaddingFactor"),
        ({"rlnTau2FudgeFactor": 0}, "rlnTau2FudgeFactor"),
        ({"rlnPixelSize": -1.0}, "rlnPixelSize"),
        ({"rlnExtReconsWeight": None}, "'rlnExtReconsWeight' is missing"),
    ],
)
def test_senseless_description_is_refused(call: Path, changed: dict[str, object], says: str) -> None:
    write_star(**changed)  # type: ignore[arg-type]
    with pytest.raises(InputInvalid, match=says) as caught:
        sums.read_description(call)
    assert str(caught.value).startswith(str(call))


def test_star_file_cut_in_its_last_number_is_refused(call: Path) -> None:
    call.write_text(call.read_text().rstrip()[:-1])
    with pytest.raises(InputInvalid, match="last line"):
        sums.read_description(call)


def test_volume_of_another_call_is_refused_before_anything_is_read(call: Path) -> None:
    mrc.write_atomically(f"{ROOT}_weight.mrc", np.ones((P, P, P), np.float32), 1.0)
    with pytest.raises(InputInvalid, match=rf"{ROOT}_weight\.mrc: has .* belongs to another call"):
        sums.read_call(call)


@pytest.mark.parametrize("part", ["data_real", "data_imag", "weight"])
@pytest.mark.parametrize("fault", ["truncated", "nan", "missing"])
def test_damaged_volume_is_refused_by_name(call: Path, part: str, fault: str) -> None:
    path = Path(f"{ROOT}_{part}.mrc")
    if fault == "truncated":
        os.truncate(path, path.stat().st_size - 4)
    elif fault == "nan":
        path.write_bytes(path.read_bytes()[:-4] + np.float32(np.nan).tobytes())
    else:
        path.unlink()
    with pytest.raises(InputInvalid, match=rf"{part}\.mrc"):
        sums.read_call(call)


def test_negative_weight_is_refused(call: Path) -> None:
    weight = mrc.read(f"{ROOT}_weight.mrc")[0]
    weight[3, 2, 1] = -1
    mrc.write_atomically(f"{ROOT}_weight.mrc", weight, 1.0)
    with pytest.raises(InputInvalid, match="negative weights"):
        sums.read_call(call)


@pytest.mark.shared
def test_real_star_file_of_relion_3_1_is_read(shared: Path) -> None:
    found = sums.read_description(shared / "data" / "relion_external" / "example_external_reconstruct_relion31.star")
    assert found.geometry == sums.SumsGeometry(96, 1.0, 30)
    assert not found.is_relion4_or_newer
    assert found.tau2[15] == 1.260780e-06
