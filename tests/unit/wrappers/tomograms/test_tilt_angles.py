"""Tilt angles of every program in one convention, and what cannot be a tilt series in one sentence."""

from __future__ import annotations

import contextlib
import gzip
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.tomograms.row_tilts import tilts_of_row
from cryobridge.wrappers.tomograms.table import read_tomogram_table
from cryobridge.wrappers.tomograms.tilt_angles import Maker, implausible_defocus, read_tilt_angles, tilt_list

ANGLES = (0.0, 3.0, -3.0, 6.0, -6.0, 51.5, -43.25)
DEFOCUS_UM = (3.0, 3.1, 3.2, 3.3, 3.4, 3.5, 3.6)


def tlt(angles: tuple[float, ...]) -> str:
    return "".join(f"{angle:8.2f}\n" for angle in angles)


def aln(angles: tuple[float, ...]) -> str:
    rows = "".join(f"{at:5d} 85.0 1.0 0.5 -0.5 1.0 1.0 1.0 0.0 {angle:.2f}\n" for at, angle in enumerate(angles))
    head = "# AreTomo Alignment / Priims bprmMn\n# RawSize = 96 96 7\n# DarkFrame = 0 1 66.00\n# AlphaOffset = 8.0\n"
    return f"{head}# SEC ROT GMAG TX TY SMEAN SFIT SCALE BASE TILT\n{rows}# Local Alignment\n 0 0 1.0 2.0 0.1 0.2 1.0\n"


def warp(angles: tuple[float, ...]) -> str:
    lines = "\n".join(f"{-angle}" for angle in (66.0, *angles))
    used = "\n".join(["False", *["True"] * len(angles)])
    nodes = "".join(f'<Node X="0" Y="0" Z="{at}" Value="{um}" />' for at, um in enumerate((9.0, *DEFOCUS_UM)))
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<TiltSeries AreAnglesInverted="True" LevelAngleX="0">'
        f"<Angles>{lines}</Angles><UseTilt>{used}</UseTilt><GridCTF>{nodes}</GridCTF></TiltSeries>"
    )


def mdoc(angles: tuple[float, ...]) -> str:
    head = "PixelSpacing = 1.97\nTiltAngle = 77\n\n[T = SerialEM]\n\n"
    return head + "".join(
        f"[ZValue = {at}]\nTiltAngle = {angle}\nDefocus = 2.2\nTargetDefocus = -{um}\n\n"
        for at, (angle, um) in enumerate(zip(angles, DEFOCUS_UM, strict=True))
    )


def relion(angles: tuple[float, ...]) -> str:
    rows = "".join(
        f"f{at}.mrc {angle + 8} {angle} {1e4 * um + 100} {1e4 * um - 100}\n"
        for at, (angle, um) in enumerate(zip(angles, DEFOCUS_UM, strict=True))
    )
    labels = ("rlnMicrographName", "rlnTomoNominalStageTiltAngle", "rlnTomoYTilt", "rlnDefocusU", "rlnDefocusV")
    return "data_TS_01\n\nloop_\n" + "".join(f"_{label}\n" for label in labels) + rows


WRITERS: dict[str, Callable[[tuple[float, ...]], str]] = {
    "a.tlt": tlt,
    "a.rawtlt": tlt,
    "a.aln": aln,
    "a.xml": warp,
    "a.mrc.mdoc": mdoc,
    "a.star": relion,
    "angles.txt": tlt,
    "aretomo.txt": aln,
    "warp.txt": warp,
}


@pytest.mark.parametrize("name", WRITERS)
def test_one_series_is_the_same_from_every_program(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(WRITERS[name](ANGLES))
    found = read_tilt_angles(path)
    assert found.angles_deg == pytest.approx(sorted(ANGLES))
    assert (found.tilt_min_deg, found.tilt_max_deg) == (-43.25, 51.5)
    has_defocus = WRITERS[name] in (warp, mdoc, relion)
    assert found.defocus_A == (pytest.approx(30000) if has_defocus else None)
    mirrored = read_tilt_angles(path, mirrored=True)
    assert (mirrored.tilt_min_deg, mirrored.tilt_max_deg) == (-51.5, 43.25)
    assert mirrored.defocus_A == found.defocus_A


@pytest.mark.parametrize("maker", ["relion", "imod", "warp", "aretomo"])
def test_the_convention_is_that_of_relions_projections(tmp_path: Path, maker: Maker) -> None:
    """x' = x cos t + z sin t: the transform of a projection lies on the direction (cos t, sin t) of (x, z)."""
    (tmp_path / "a.star").write_text(relion(ANGLES))
    highest = read_tilt_angles(tmp_path / "a.star", maker).tilt_max_deg
    points = np.random.default_rng(0).normal(size=(5, 2))
    t = math.radians(51.5)
    projected = points[:, 0] * math.cos(t) + points[:, 1] * math.sin(t)
    direction = np.array([math.cos(math.radians(highest)), math.sin(math.radians(highest))])
    for k in (0.3, 1.0, 2.2):
        assert np.exp(-1j * k * projected).sum() == pytest.approx(np.exp(-1j * points @ (k * direction)).sum())


def test_a_pretilt_is_added_as_imod_counts_it(tmp_path: Path) -> None:
    for name in ("a.tlt", "a.xml"):
        (tmp_path / name).write_text(WRITERS[name](ANGLES))
        found = read_tilt_angles(tmp_path / name, pretilt_deg=10)
        assert (found.tilt_min_deg, found.tilt_max_deg) == (-33.25, 61.5)


def test_real_files_of_serialem_and_relion_are_read(tmp_path: Path, shared: Path) -> None:
    packed = {
        "TS_017.mdoc": shared / "data" / "tomograms" / "cryocat_TS_017.mdoc.gz",
        "TS_03.star": shared / "data" / "star" / "relion5_tomo" / "AlignTiltSeries_job005_tilt_series_TS_03.star.gz",
        "TS_01.star": shared / "data" / "star" / "relion5_tomo" / "CtfRefine_job067_tilt_series_TS_01.star.gz",
    }
    for name, path in packed.items():
        (tmp_path / name).write_bytes(gzip.decompress(path.read_bytes()))
    stage = read_tilt_angles(tmp_path / "TS_017.mdoc")
    assert stage.tilt_min_deg == pytest.approx(-52.0064)
    assert stage.defocus_A == 30000
    assert any("stage" in line for line in stage.remarks)
    third = read_tilt_angles(tmp_path / "TS_03.star", "relion")
    assert third.tilt_min_deg == -57
    assert third.defocus_A == pytest.approx((15032.874023 + 14377.012695) / 2)
    refined = read_tilt_angles(tmp_path / "TS_01.star", "relion")
    assert refined.defocus_A == pytest.approx((39165.207008 + 39448.830029) / 2)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.tlt", "", "holds no tilt angles"),
        ("a.tlt", "0\nabc\n", "'abc' .line 2. is no number"),
        ("a.tlt", "0\nnan\n", "is no number"),
        ("a.tlt", "0\n120\n", "beyond 90"),
        ("a.tlt", "3\n3\n", "several"),
        ("a.aln", "1 2 3\n", "has 3 values"),
        ("a.mdoc", "TiltAngle = 3\n", "holds no tilt angles"),
        ("a.xml", "<TiltSeries><Angles>1\n2", "is no whole XML"),
        ("a.xml", "<!DOCTYPE x [<!ENTITY a 'b'>]><TiltSeries/>", "declares entities"),
        ("a.xml", "<TiltSeries/>", "holds no tilt angles"),
        ("a.star", "data_\nloop_\n_rlnVoltage\n300\n", "has neither"),
    ],
)
def test_what_is_no_tilt_series_is_one_sentence(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputInvalid, match=said):
        read_tilt_angles(tmp_path / name)


@settings(max_examples=60)
@given(st.sampled_from(sorted(WRITERS)), st.integers(0, 400), st.binary(min_size=1, max_size=12))
def test_damaged_files_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, at: int, new: bytes
) -> None:
    raw = WRITERS[name](ANGLES).encode()
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(raw[:at] + new + raw[at + len(new) :])
    with contextlib.suppress(InputInvalid):
        assert all(abs(angle) <= 90 for angle in read_tilt_angles(path).angles_deg)


def test_a_narrow_series_is_questioned(tmp_path: Path) -> None:
    (tmp_path / "a.tlt").write_text(tlt(tuple(math.radians(angle) for angle in ANGLES)))
    assert any("in degrees" in line for line in read_tilt_angles(tmp_path / "a.tlt").remarks)


@pytest.mark.parametrize(("defocus_A", "said"), [(3.2, "micrometres"), (-30000, "overfocus"), (3e6, "more than 20")])
def test_a_defocus_of_the_wrong_unit_or_sign_is_noticed(defocus_A: float, said: str) -> None:
    assert said in str(implausible_defocus(defocus_A))


@pytest.mark.parametrize("defocus_A", [0, 2500, 38000, 1e5])
def test_a_usual_defocus_is_not_questioned(defocus_A: float) -> None:
    assert implausible_defocus(defocus_A) is None


def test_the_rows_of_a_table_lead_to_their_tilts(tmp_path: Path) -> None:
    (tmp_path / "tilts").mkdir()
    (tmp_path / "tilts" / "b.tlt").write_text(tilt_list((-40.0, 0.0, 60.0)))
    (tmp_path / "series.star").write_text(relion(ANGLES))
    (tmp_path / "tomograms.star").write_text(
        "data_global\nloop_\n_rlnTomoName\n_rlnTomoReconstructedTomogram\n_rlnTomoTiltSeriesStarFile\n"
        "_rlnTiltAngleFile\n_rlnTiltMin\nA a.mrc series.star None None\nB b.mrc None tilts/b.tlt -35\n"
        "C c.mrc gone.star None None\n"
    )
    a, b, c = read_tomogram_table(tmp_path / "tomograms.star").tomograms
    assert (a.tilt_min_deg, a.tilt_max_deg) == (-43.25, 51.5)
    assert a.defocus_A == pytest.approx(30000)
    assert (b.tilt_min_deg, b.tilt_max_deg, b.tilt_angles_deg, b.defocus_A) == (-35, 60, (-40, 0, 60), 0)
    assert (c.tilt_angles_deg, c.tilt_min_deg) == (None, None)
    with pytest.raises(InputInvalid, match="does not exist"):
        tilts_of_row("gone.tlt", None, tmp_path / "tomograms.star")
