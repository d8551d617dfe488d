"""`map.correct` from files to files: what it writes, and what the maps keep of the measured ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.correction_data import noisy_pair
from support.correction_job import LIMIT_A, VOXEL_A, correction_job, finish, read, write

from cryobridge.bridge.worker.kinds.map.correct import job as correct
from cryobridge.core.directional.correlation import fsc3d
from cryobridge.core.fourier.shells import radial_mean, shell_index
from cryobridge.core.fourier.transforms import apply_filter, centred_spectrum, forward, radius
from cryobridge.schemas.errors import InputInvalid

pytestmark = pytest.mark.slow

MAPS = {"corrected.mrc", "corrected_half1.mrc", "corrected_half2.mrc"}
LOOKED_AT = {"postprocessed.mrc", "input_postprocessed.mrc"}
TABLES = {
    "change.csv",
    "fsc.csv",
    "loss.csv",
    "directions.csv",
    "cones.csv",
    "amplitudes.csv",
    "corrected.cxc",
    "network.safetensors",
    "report.html",
}


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take seconds; one test looks at the page."""
    monkeypatch.setattr(correct, "page", lambda _: "")


@pytest.mark.slow
def test_a_job_leaves_maps_tables_a_network_and_a_page(tmp_path: Path) -> None:
    spec = correction_job(tmp_path, ensemble=2, display_map=True, held_out=2, held_out_every=1)
    result = finish(spec)
    out = tmp_path / "out"
    assert set(result["outputs"]) == {
        *MAPS,
        *TABLES,
        *LOOKED_AT,
        "FSC3D.mrc",
        "spread.mrc",
        "corrected_for_display.mrc",
    }
    assert {path.name for path in out.iterdir()} == {*result["outputs"], "job.yaml", "result.json", "run.log"}
    assert result["seeds"] == {"network 1": 0, "network 2": 1}
    assert (result["metrics"]["steps"], result["metrics"]["mode"]) == (4, "shared")
    halves = [read(out / f"corrected_half{half}.mrc") for half in (1, 2)]
    assert torch.allclose(read(out / "corrected.mrc"), (halves[0] + halves[1]) / 2, atol=1e-6)
    assert float(read(out / "spread.mrc").max()) > 0
    rows = (out / "loss.csv").read_text().splitlines()
    assert [row.split(",")[:2] for row in rows[1:]] == [["1", "1"], ["1", "2"], ["2", "1"], ["2", "2"]]
    assert all(row.count(",") == 3 and not row.endswith(",") for row in rows)
    page = (out / "report.html").read_text()
    assert result["metrics"]["verdict"] in ("use", "use with care", "do not use")
    assert f'<h2 id="verdict">{result["metrics"]["verdict"].capitalize()}.</h2>' in page
    assert any("for looking at only" in line for line in result["statements"])
    assert b"FOR DISPLAY ONLY" in (out / "corrected_for_display.mrc").read_bytes()[:1024]
    assert "not a resolution" in page
    assert any("not independent" in line for line in result["statements"])
    assert all(line in page.replace("&#x27;", "'") for line in result["statements"])


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_a_network_can_be_used_again_without_training(tmp_path: Path) -> None:
    first = finish(correction_job(tmp_path, method="published", loss="improved"))
    (tmp_path / "network.safetensors").write_bytes((tmp_path / "out/network.safetensors").read_bytes())
    spec = correction_job(tmp_path, name="again", method="published", loss="improved", steps=0)
    spec["inputs"]["network"] = str(tmp_path / "network.safetensors")
    again = finish(spec)
    assert again["metrics"]["steps"] == 0
    assert [again["outputs"][name]["sha256"] for name in MAPS] == [first["outputs"][name]["sha256"] for name in MAPS]
    spec["inputs"].pop("network")
    with pytest.raises(InputInvalid, match="needs a network"):
        finish({**spec, "output": str(tmp_path / "never")})
    assert not (tmp_path / "never").exists()


@pytest.mark.slow
@pytest.mark.parametrize("independent", [False, True])
def test_a_page_on_a_network_that_was_used_as_it_came_tells_of_no_training(tmp_path: Path, independent: bool) -> None:
    spec = correction_job(tmp_path, effort="quick", independent=independent)
    del spec["options"]["steps"]
    result = finish(spec)
    page = (tmp_path / "out/report.html").read_text()
    assert result["metrics"]["steps"] == 0
    assert "base width 8, used as it came, without training" in page
    assert "it was used as it came, without training on these half-maps" in page
    assert any("learned from neither half-map" in line for line in result["statements"])
    for untrue in ("0 steps", "was trained", "One network saw", "The loss", ">Training", ", train "):
        assert untrue not in page, untrue


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_independent_halves_know_nothing_of_each_other(tmp_path: Path) -> None:
    half1, half2, _, mask = noisy_pair()
    write(tmp_path / "fsc3d.mrc", centred_spectrum(fsc3d(half1, half2, mask, limit_shell=8).clamp(0, 1)))
    spec = correction_job(tmp_path, mode="independent", inputs=("mask", "fsc3d"), prior_variance=0.5)
    before = finish(spec)["outputs"]
    write(tmp_path / "half1.mrc", half1 + torch.randn(half1.shape, generator=torch.Generator().manual_seed(5)))
    after = finish({**spec, "output": str(tmp_path / "second")})["outputs"]
    changed = {name for name in MAPS if before[name]["sha256"] != after[name]["sha256"]}
    assert changed == {"corrected.mrc", "corrected_half1.mrc"}


@pytest.mark.usefixtures("no_figures")
def test_what_lies_beyond_the_limit_stays_with_the_published_combination(tmp_path: Path) -> None:
    finish(correction_job(tmp_path, combine="published"))
    before, after = (forward(read(tmp_path / name)) for name in ("half1.mrc", "out/corrected_half1.mrc"))
    shell = shell_index(24)
    beyond = (shell > 24 * VOXEL_A / LIMIT_A) & (shell <= 12)
    scale = float((before.abs() * beyond).sum() / (after.abs() * beyond).sum())
    assert float((after * scale - before)[beyond].abs().max() / before[beyond].abs().max()) < 1e-3
    assert scale == pytest.approx(1, rel=0.5)


@pytest.mark.usefixtures("no_figures")
def test_what_lies_beyond_the_limit_is_the_half_map_and_no_stronger_than_at_the_limit(tmp_path: Path) -> None:
    finish(correction_job(tmp_path))
    mask = read(tmp_path / "mask.mrc")
    before, after = (forward(read(tmp_path / name) * mask) for name in ("half1.mrc", "out/corrected_half1.mrc"))
    beyond = (shell_index(24) > 24 * VOXEL_A / LIMIT_A + 1) & (shell_index(24) <= 12)
    together = torch.view_as_real(torch.stack([before[beyond], after[beyond]])).reshape(2, -1)
    assert float(torch.corrcoef(together)[0, 1]) > 0.7
    assert float(after[beyond].abs().square().sum()) < float(before[beyond].abs().square().sum())
    power = radial_mean(after.abs().square(), 24)
    last = int(24 * VOXEL_A / LIMIT_A)
    assert float(power[last + 1 :].max() / power[last - 2 : last + 1].mean()) < 2


@pytest.mark.usefixtures("no_figures")
def test_a_given_3dfsc_that_ends_early_ends_the_correction_at_its_last_shell(tmp_path: Path) -> None:
    write(tmp_path / "fsc3d.mrc", centred_spectrum(0.9 * (shell_index(24) <= 5).float()))
    result = finish(correction_job(tmp_path, inputs=("mask", "fsc3d"), steps=1))
    assert result["metrics"]["limit_resolution_A"] == pytest.approx(24 * VOXEL_A / 5)
    power = radial_mean(forward(read(tmp_path / "out/corrected_half1.mrc")).abs().square(), 24)
    before = radial_mean(forward(read(tmp_path / "half1.mrc")).abs().square(), 24)
    assert float((power / before)[4:6].min()) > 0.5


@pytest.mark.usefixtures("no_figures")
def test_well_measured_voxels_stay_as_measured_and_others_do_not(tmp_path: Path) -> None:
    n = 24
    along = torch.fft.fftfreq(n).abs().view(n, 1, 1) > 0.7 * radius(n) / n
    known = torch.where(along, 0.05, 1.0) * (radius(n) < 8.5)
    known[0, 0, 0] = 1
    write(tmp_path / "fsc3d.mrc", centred_spectrum(known))
    spec = correction_job(tmp_path, inputs=("mask", "fsc3d"), steps=4)
    # Outside a mask the half-map stays, and a mask mixes Fourier voxels: here it is everywhere.
    write(tmp_path / "mask.mrc", torch.ones(n, n, n))
    result = finish(spec)
    before, after = (forward(read(tmp_path / name)) for name in ("half2.mrc", "out/corrected_half2.mrc"))
    # A gain is at most 0.999, and a network trusted four times as much as the prior has 0.4 % of a say. Beyond the
    # limit, shell 8, the half-map goes on filtered.
    kept = ~along & (shell_index(n) <= 8)
    assert float((after - before)[kept].abs().max() / before.abs().max()) < 5e-3
    inside = along & (radius(n) > 2) & (radius(n) < 7)
    assert float((after - before)[inside].abs().mean() / before[inside].abs().mean()) > 0.3
    metrics = result["metrics"]
    # Inside a tight mask of so small a box the voxels mix.
    assert metrics["power_changed_well_measured"] < 0.1 < metrics["power_changed_badly_measured"]


@pytest.mark.usefixtures("no_figures")
def test_a_point_group_is_imposed(tmp_path: Path) -> None:
    spec = correction_job(tmp_path, symmetry="C2", combine="published", limit_resolution_A=2 * VOXEL_A)
    for name in ("half1.mrc", "half2.mrc"):
        half = read(tmp_path / name)
        write(tmp_path / name, (half + torch.roll(half.flip(1, 2), (1, 1), (1, 2))) / 2)
    finish(spec)
    corrected = apply_filter(read(tmp_path / "out/corrected_half1.mrc"), (radius(24) < 5).float())
    turned = torch.roll(corrected.flip(1, 2), (1, 1), (1, 2))
    inner = slice(4, -4)
    difference = (corrected - turned)[inner, inner, inner]
    # The first planes of the box have no mate; a map without symmetry differs from itself by 1.4.
    assert float(difference.std()) < 0.2 * float(corrected[inner, inner, inner].std())


@pytest.mark.parametrize("group", ["C2", "D7", "O"])
def test_a_point_group_that_the_maps_do_not_have_is_refused(tmp_path: Path, group: str) -> None:
    with pytest.raises(
        InputInvalid, match=f"half1.mrc and half2.mrc: the half-maps do not have {group}: .*left of the"
    ):
        finish(correction_job(tmp_path, symmetry=group))
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_figures")
def test_how_the_maps_stand_to_what_was_measured_is_in_the_result(tmp_path: Path) -> None:
    metrics = finish(correction_job(tmp_path))["metrics"]
    assert metrics["consistency"] in ("follows", "care", "contradicts")
    assert metrics["best_direction_A"] <= metrics["resolution_A"] <= metrics["worst_direction_A"]


CASES: list[dict[str, Any]] = [
    {"n": 21},
    {"n": 16, "cube_size": 24},
    {"inputs": ()},
    {"inputs": (), "method": "published"},
    {"method": "published", "acc_batches": 1},
    {"method": "published", "independent": True, "whiten": True, "epochs": 1, "n_subvolume": 4},
    {"weight": "none"},
    {"weight": "fsc3d"},
    {"inputs": ("mask", "reference")},
]


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values())))
def test_all_sorts_of_jobs_end_well(tmp_path: Path, case: dict[str, Any]) -> None:
    n = case.get("n", 24)
    half1, half2, _, mask = noisy_pair(n=n)
    write(tmp_path / "reference.mrc", half1 + half2)
    spec = correction_job(tmp_path, **case)
    write(tmp_path / "mask.mrc", (mask > 0.5).float())
    if "epochs" in case:
        del spec["options"]["steps"]
    result = finish(spec)
    for name in MAPS:
        volume = read(tmp_path / "out" / name)
        assert volume.shape == (n, n, n)
        assert bool(torch.isfinite(volume).all())
        assert float((volume - half1).std()) > 0
    method = case.get("method", "improved")
    used = {key: result["options"][key] for key in ("weight", "combine", "independent")}
    assert used == {
        "weight": case.get("weight", "noise" if method == "improved" else "fsc3d"),
        "combine": "fill" if method == "improved" else "published",
        "independent": "independent" in case,
    }
    made = case.get("inputs") == () and case.get("method") != "published"
    assert ("mask.mrc" in result["outputs"]) == made
    assert any("No mask was given" in line for line in result["statements"]) == made


def shifted(folder: Path) -> None:
    write(folder / "fsc3d.mrc", torch.fft.fftshift(centred_spectrum((radius(24) < 8).float())))


def of_another_box(folder: Path) -> None:
    write(folder / "fsc3d.mrc", centred_spectrum((radius(16) < 8).float()))


def nothing(folder: Path) -> None:
    write(folder / "fsc3d.mrc", torch.zeros(24, 24, 24))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [(shifted, "origin at the centre"), (of_another_box, "box 16 is not that of"), (nothing, "no value is above 0")],
)
def test_a_3dfsc_that_is_none_is_refused(tmp_path: Path, make: Any, sentence: str) -> None:
    make(tmp_path)
    with pytest.raises(InputInvalid, match=sentence) as caught:
        finish(correction_job(tmp_path, inputs=("mask", "fsc3d")))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_options_that_do_not_go_together_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="batch 3 is not a multiple of acc_batches 2"):
        finish(correction_job(tmp_path, method="published", batch=3))
    spec = correction_job(tmp_path, steps=0, ensemble=2)
    spec["inputs"]["network"] = str(tmp_path / "mask.mrc")
    with pytest.raises(InputInvalid, match="'ensemble' needs training"):
        finish(spec)
