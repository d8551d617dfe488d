"""`tomo.predict` with a network that learned straight from tomograms: told by its file, both halves read, grey kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import torch
from support.map_jobs import run_map_job
from support.wedge_tables import DEEP, DEFOCUS_A, GREY, OPTICS, PIXEL_A, halved_tomograms, seen_halves, specimen

from cryobridge.bridge.worker.tomograms.wedge_network import network_bytes
from cryobridge.core.tomogram import ContrastTransfer, TwoHeadUNet, Wedge, ctf_curve, filtered, radius, wedge_weight
from cryobridge.core.training import initialised_from
from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.tomograms.table import read_tomogram_table

pytestmark = pytest.mark.slow

TRAINED = {"steps_done": 3, "reduced_by": 1, "pixel_size_A": PIXEL_A}


def untrained(path: Path, settings: Mapping[str, Any] | None = None, **options: Any) -> Path:
    """A network that gives back what was measured and fills in nothing."""
    with initialised_from(0):
        weights = TwoHeadUNet(2).state_dict()
    told = {**TRAINED, "options": {"method": "n2n-mw", **options}} if settings is None else settings
    path.write_bytes(network_bytes(weights, settings=told))
    return path


def predict(star: Path, model: Path, out: Path, **options: Any) -> tuple[dict[str, Any], str]:
    result, _ = run_map_job("tomo.predict", out, {"star": star, "model": model}, options)
    return result, (out / "run.log").read_text()


def corrected(out: Path, name: str = "tomo1") -> np.ndarray:
    return mrc.read(out / f"{name}_corrected.mrc")[0]


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def test_both_halves_are_read_and_grey_scale_and_place_kept(tmp_path: Path) -> None:
    """The half files alone are right here: the whole one holds noise."""
    star = halved_tomograms(tmp_path, 2)
    for number in (1, 2):
        noise = np.random.default_rng(1).standard_normal((40,) * 3).astype(np.float32)
        mrc.write_atomically(tmp_path / f"tomo{number}.mrc", noise, PIXEL_A)
        with mrcfile.open(tmp_path / f"tomo{number}_even.mrc", "r+") as file:
            file.header.origin = (11.0, 12.0, 13.0)
    result, _ = predict(star, untrained(tmp_path / "m.safetensors"), tmp_path / "out")
    assert set(result["outputs"]) == {"tomo1_corrected.mrc", "tomo2_corrected.mrc", "report.html", "tomograms.star"}
    for number in (1, 2):
        found = corrected(tmp_path / "out", f"tomo{number}")
        weight = wedge_weight(Wedge.of_range(), (40, 40, 40))
        truth = (GREY - DEEP * filtered(specimen(number), weight)).numpy()
        assert likeness(found, truth) > 0.95
        assert found.mean() == pytest.approx(truth.mean(), abs=0.5)
        assert found.std() == pytest.approx(truth.std(), rel=0.1)
    header = mrc.read_header(tmp_path / "out" / "tomo1_corrected.mrc")
    assert header.voxel_size_A == pytest.approx((PIXEL_A,) * 3)
    assert header.position == mrc.read_header(tmp_path / "tomo1_even.mrc").position
    for table in (star, tmp_path / "out" / "tomograms.star"):
        first = read_tomogram_table(table).tomograms[0]
        assert first.corrected == tmp_path / "out" / "tomo1_corrected.mrc"


def test_one_map_is_read_where_there_is_no_more(tmp_path: Path) -> None:
    star = halved_tomograms(tmp_path, halves=False)
    result, _ = predict(star, untrained(tmp_path / "m.safetensors", method="isonet2"), tmp_path / "out")
    whole, _ = mrc.read(tmp_path / "tomo1.mrc")
    assert likeness(corrected(tmp_path / "out"), whole) > 0.95
    assert result["metrics"]["tomograms"] == 1


@pytest.mark.parametrize(("use", "sign"), [(True, -1), (False, 1)])
def test_the_deconvolved_one_is_read_if_the_network_learned_from_such(tmp_path: Path, use: bool, sign: int) -> None:
    star = halved_tomograms(tmp_path, rlnDeconvTomoName="deconv.mrc")
    whole, _ = mrc.read(tmp_path / "tomo1.mrc")
    mrc.write_atomically(tmp_path / "deconv.mrc", 2 * np.float32(GREY) - whole, PIXEL_A)
    model = untrained(tmp_path / "m.safetensors", method="isonet2")
    predict(star, model, tmp_path / "out", use_deconv_tomo=use)
    assert sign * likeness(corrected(tmp_path / "out"), whole) > 0.9


@pytest.mark.parametrize(("mode", "flips"), [("none", False), ("phase_only", True)])
def test_phases_are_flipped_as_in_the_training(tmp_path: Path, mode: str, flips: bool) -> None:
    transfer = ContrastTransfer(OPTICS, clips_first_peak=False)
    star = halved_tomograms(tmp_path, rlnDefocus=DEFOCUS_A)
    even, odd = seen_halves(specimen(), 0.1, transfer=transfer)
    for name, half in (("even", even), ("odd", odd)):
        mrc.write_atomically(tmp_path / f"tomo1_{name}.mrc", half.numpy(), PIXEL_A)
    predict(star, untrained(tmp_path / "m.safetensors", ctf_mode=mode), tmp_path / "out")
    spectrum = torch.fft.rfftn(torch.from_numpy(corrected(tmp_path / "out")))
    upside_down = transfer.signs((40, 40, 40)) < 0
    truth = torch.fft.rfftn(-specimen()) * transfer.magnitude((40, 40, 40))
    common = (spectrum * truth.conj()).real[upside_down].sum()
    assert bool(common > 0) == flips


def test_a_wiener_filter_is_applied_as_in_the_training(tmp_path: Path) -> None:
    """The filter by its formula, with the signal-to-noise ratio that the network's file tells."""
    star = halved_tomograms(tmp_path, rlnDefocus=DEFOCUS_A, rlnAmplitudeContrast=0.1)
    even, odd = seen_halves(specimen(), 0.05, transfer=ContrastTransfer(OPTICS, clips_first_peak=False))
    for name, half in (("even", even), ("odd", odd)):
        mrc.write_atomically(tmp_path / f"tomo1_{name}.mrc", half.numpy(), PIXEL_A)
    told = {"ctf_mode": "wiener", "deconvstrength": 0.5, "highpassnyquist": 0.1}
    predict(star, untrained(tmp_path / "m.safetensors", **told), tmp_path / "out")
    at = (2 * radius((40, 40, 40))).clamp(max=1)
    ctf = ctf_curve(OPTICS, at)
    snr = 10**0.5 * (1 - torch.cos(torch.pi * (at / 0.1).clamp(max=1))) + 1e-6
    weight = (ctf / (ctf.square() + 1 / snr)).float()
    wanted = (GREY + filtered((even + odd) / 2 - GREY, weight)).numpy()
    found = corrected(tmp_path / "out")
    assert likeness(found, wanted) > 0.98
    assert likeness(found, ((even + odd) / 2).numpy()) < likeness(found, wanted) - 0.05
    assert found.std() == pytest.approx(wanted.std(), rel=0.05)
    assert found.mean() == pytest.approx(GREY, abs=0.1)


def test_a_bfactor_raises_high_frequencies_once(tmp_path: Path) -> None:
    star = halved_tomograms(tmp_path)
    even, odd = seen_halves(specimen(), 0.02)
    for name, half in (("even", even), ("odd", odd)):
        mrc.write_atomically(tmp_path / f"tomo1_{name}.mrc", half.numpy(), PIXEL_A)
    spectra = []
    for bfactor in (0, 800):
        predict(star, untrained(tmp_path / f"m{bfactor}", bfactor=bfactor), tmp_path / f"out{bfactor}")
        spectra.append(torch.fft.rfftn(torch.from_numpy(corrected(tmp_path / f"out{bfactor}"))))
    plain, sharp = spectra
    distance = radius((40, 40, 40))
    there = (wedge_weight(Wedge.of_range(), (40, 40, 40)) == 1) & (plain.abs() > plain[1:, 1:].abs().mean())
    for low, high in ((0.05, 0.1), (0.2, 0.25)):
        shell = there & (distance >= low) & (distance < high)
        ratio = (sharp[shell].abs() / plain[shell].abs()).median()
        raised = torch.exp(800 / PIXEL_A**2 * distance[shell].square() / 4).median()
        assert float(ratio) == pytest.approx(float(raised), rel=0.02)


def test_phases_that_were_flipped_may_be_told_anew(tmp_path: Path) -> None:
    star = halved_tomograms(tmp_path, rlnDefocus=DEFOCUS_A)
    model = untrained(tmp_path / "m.safetensors", ctf_mode="phase_only")
    predict(star, model, tmp_path / "out", isCTFflipped=True)
    whole, _ = mrc.read(tmp_path / "tomo1.mrc")
    assert likeness(corrected(tmp_path / "out"), whole) > 0.95
    predict(star, model, tmp_path / "flipped")
    assert likeness(corrected(tmp_path / "flipped"), whole) < 0.95


def test_what_a_refine_has_learned_is_applied(tmp_path: Path) -> None:
    """A network that learned to undo the CTF: where something was measured it is nearer to the specimen."""
    transfer = ContrastTransfer(replace(OPTICS, defocus_A=60_000.0))
    star = halved_tomograms(tmp_path, rlnDefocus=60_000)
    even, odd = seen_halves(specimen(), 0.1, transfer=transfer)
    for name, half in (("even", even), ("odd", odd)):
        mrc.write_atomically(tmp_path / f"tomo1_{name}.mrc", half.numpy(), PIXEL_A)
    learning = {"batch_size": 2, "base_width": 2, "cube_size": 16, "steps": 60, "learning_rate": 4e-3, "mw_weight": 1}
    run_map_job("tomo.refine", tmp_path / "refined", {"star": star}, {**learning, "ctf_mode": "network"})
    predict(star, tmp_path / "refined" / "model.safetensors", tmp_path / "learned")
    predict(star, untrained(tmp_path / "m.safetensors", ctf_mode="phase_only"), tmp_path / "flipped")
    weight = wedge_weight(Wedge.of_range(), (40, 40, 40))
    learned, flipped = (
        likeness(filtered(torch.from_numpy(corrected(tmp_path / name)), weight).numpy(), -specimen().numpy())
        for name in ("learned", "flipped")
    )
    assert learned > flipped + 0.005


def test_a_network_of_tomo_correct_needs_no_settings(tmp_path: Path) -> None:
    star = halved_tomograms(tmp_path)
    predict(star, untrained(tmp_path / "m.safetensors", {}), tmp_path / "out", output_prefix="try2_")
    whole, _ = mrc.read(tmp_path / "tomo1.mrc")
    assert likeness(corrected(tmp_path / "out", "try2_tomo1"), whole) > 0.95
    assert read_tomogram_table(star).tomograms[0].corrected == tmp_path / "out" / "try2_tomo1_corrected.mrc"


def test_other_voxels_than_in_the_training_are_told(tmp_path: Path) -> None:
    star = halved_tomograms(tmp_path)
    model = untrained(tmp_path / "m.safetensors", {**TRAINED, "pixel_size_A": 13.0})
    result, _ = predict(star, model, tmp_path / "out", crop_size=128)
    assert "has voxels of 8 A, and the network was trained on 13 A" in json.dumps(result)
    assert "crop_size had no effect" in (tmp_path / "out" / "run.log").read_text()


def test_a_row_that_fails_does_not_keep_the_others(tmp_path: Path) -> None:
    star = halved_tomograms(tmp_path, 2)
    noise = np.random.default_rng(2).standard_normal((2, 40, 40, 40)).astype(np.float32)
    for name, half in zip(("even", "odd"), noise, strict=True):
        mrc.write_atomically(tmp_path / f"tomo1_{name}.mrc", half, PIXEL_A)
    with pytest.raises(InputInvalid, match="the halves agree in nothing"):
        predict(star, untrained(tmp_path / "m.safetensors"), tmp_path / "out")
    assert (tmp_path / "out" / "tomo2_corrected.mrc").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"reduced_by": 99}, "was trained on tomograms reduced by 99"),
        ({"options": {"ctf_mode": "sideways"}}, "ctf_mode"),
        ({"options": {"method": "n2n", "ctf_mode": "network"}}, "row 1 has no defocus"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    star = halved_tomograms(tmp_path, rlnDefocus=0)
    with pytest.raises(InputInvalid, match=words) as caught:
        predict(star, untrained(tmp_path / "m.safetensors", settings), tmp_path / "out")
    assert "\n" not in str(caught.value)
