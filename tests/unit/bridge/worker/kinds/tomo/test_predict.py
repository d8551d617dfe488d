"""`tomo.predict` applies the network, keeps grey scale and place, whatever the tiles, and refuses in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import torch
from support.isonet_models import MadeUpModel
from support.map_jobs import run_map_job
from support.tomogram_tables import PIXEL_A, SHAPE, grains, tomograms, write_table, write_tomogram

from cryobridge.core.tomogram import published
from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.tomograms.table import read_tomogram_table

pytestmark = pytest.mark.slow

TILES = {"cube_size": 16, "crop_size": 40, "overlap": 4}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return MadeUpModel(depth=1, convolutions=1, base=2).write(tmp_path / "model_iter30.h5")


def predict(star: Path, model: Path, out: Path, **options: Any) -> tuple[dict[str, Any], str]:
    result, _ = run_map_job("tomo.predict", out, {"star": star, "model": model}, {**TILES, **options})
    return result, (out / "run.log").read_text()


def silent(path: Path) -> Path:
    """A model of IsoNet that adds nothing to what it sees."""
    made = MadeUpModel(depth=1, convolutions=1, base=1)
    for arrays in (made.layers["fullconv_out"],):
        for values in arrays.values():
            values[...] = 0
    return made.write(path)


def normalised(volume: np.ndarray) -> np.ndarray:
    low, high = np.percentile(volume, [4, 96])
    return (volume - low) / (high - low)


def test_the_whole_tomogram_is_what_the_network_makes_of_it(tmp_path: Path, model: Path) -> None:
    """This network sees less than tiles do beyond their cube, so that tiles give what one evaluation gives."""
    star = tomograms(tmp_path)
    predict(star, model, tmp_path / "out")
    volume = -grains(1).astype(float)
    low, high = np.percentile(volume, [4, 96])
    reach = 10
    shown = np.pad((volume - low) / (high - low), reach, mode="symmetric")
    made = MadeUpModel(depth=1, convolutions=1, base=2).answer(shown)[reach:-reach, reach:-reach, reach:-reach]
    found, _ = mrc.read(tmp_path / "out" / "tomo1_corrected.mrc")
    np.testing.assert_allclose(found, -(made * (high - low) + low), atol=5e-3)


@pytest.mark.parametrize("tiles", [{"cube_size": 8, "crop_size": 32, "overlap": 2}, {"cube_size": 32, "crop_size": 56}])
def test_the_result_does_not_depend_on_tiles(tmp_path: Path, model: Path, tiles: dict[str, int]) -> None:
    star = tomograms(tmp_path)
    predict(star, model, tmp_path / "one", update_star=False)
    predict(star, model, tmp_path / "other", update_star=False, **tiles)
    one, other = (mrc.read(tmp_path / name / "tomo1_corrected.mrc")[0] for name in ("one", "other"))
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_grey_scale_voxel_size_and_place_are_the_tomograms(tmp_path: Path) -> None:
    """A network that adds nothing gives the tomogram back, to the bit of its header that says where it lies."""
    star = tomograms(tmp_path)
    predict(star, silent(tmp_path / "m.h5"), tmp_path / "out")
    found, header = mrc.read(tmp_path / "out" / "tomo1_corrected.mrc")
    np.testing.assert_allclose(found, grains(1), atol=1e-4)
    before = mrc.read_header(tmp_path / "tomo1.mrc")
    assert (header.position, header.voxel_size_A, header.axes) == (before.position, before.voxel_size_A, before.axes)


@pytest.mark.parametrize("by_percentile", [True, False])
def test_the_scale_of_isonet_is_to_be_had(tmp_path: Path, by_percentile: bool) -> None:
    star = tomograms(tmp_path)
    settings = {"output_scale": "normalized", "normalize_percentile": by_percentile}
    predict(star, silent(tmp_path / "m.h5"), tmp_path / "out", **settings)
    found, _ = mrc.read(tmp_path / "out" / "tomo1_corrected.mrc")
    volume = -grains(1).astype(float)
    wanted = normalised(volume) if by_percentile else (volume - volume.mean()) / volume.std()
    np.testing.assert_allclose(found, -wanted, atol=5e-3)


def test_half_precision_in_and_out(tmp_path: Path) -> None:
    """Sums of mode 12 would overflow in its own precision."""
    volume = (300 + 100 * grains(1)).astype(np.float16)
    write_tomogram(tmp_path / "tomo1.mrc", volume)
    star = write_table(tmp_path, [{"rlnIndex": 1, "rlnMicrographName": "tomo1.mrc", "rlnPixelSize": PIXEL_A}])
    predict(star, silent(tmp_path / "m.h5"), tmp_path / "out", output_type="input")
    with mrcfile.open(tmp_path / "out" / "tomo1_corrected.mrc") as file:
        assert int(file.header.mode) == 12
        np.testing.assert_allclose(file.data.astype(float), volume.astype(float), rtol=2e-3)


def test_both_tables_learn_of_it_and_keep_the_rest(tmp_path: Path, model: Path) -> None:
    star = tomograms(tmp_path, count=2, rlnSomethingElse="kept")
    result, _ = predict(star, model, tmp_path / "out", tomo_index="2")
    assert set(result["outputs"]) == {"tomo2_corrected.mrc", "tomograms.star", "report.html"}
    for table in (star, tmp_path / "out" / "tomograms.star"):
        first, second = read_tomogram_table(table).tomograms
        assert (first.corrected, second.corrected) == (None, tmp_path / "out" / "tomo2_corrected.mrc")
        assert first.values["rlnSomethingElse"] == "kept"
    assert star.read_text().startswith("# made by hand")


def test_the_users_table_is_left_alone_if_that_is_wanted(tmp_path: Path, model: Path) -> None:
    star = tomograms(tmp_path)
    before = star.read_bytes()
    predict(star, model, tmp_path / "out", update_star=False)
    assert star.read_bytes() == before


def test_the_deconvolved_tomogram_is_corrected_where_there_is_one(tmp_path: Path) -> None:
    write_tomogram(tmp_path / "d.mrc", grains(7))
    star = tomograms(tmp_path, rlnDeconvTomoName="d.mrc")
    model = silent(tmp_path / "m.h5")
    for column, seed in (("rlnDeconvTomoName", 7), ("rlnTomoName", 1)):
        predict(star, model, tmp_path / column, input_column=column, output_prefix="a-", update_star=False)
        found, _ = mrc.read(tmp_path / column / "a-tomo1_corrected.mrc")
        np.testing.assert_allclose(found, grains(seed), atol=1e-4)


def test_the_normalisation_is_that_of_the_training(tmp_path: Path) -> None:
    from support.subtomograms import QUICK, write_subtomograms

    subtomos = write_subtomograms(tmp_path / "s")
    options = {**QUICK, "iterations": 1, "epochs": 1, "normalize_percentile": False}
    run_map_job("tomo.refine", tmp_path / "refine", {"subtomos": subtomos}, options)
    star = tomograms(tmp_path)
    result, _ = predict(star, tmp_path / "refine" / "model.safetensors", tmp_path / "out")
    assert result["options"]["normalize_percentile"] is False


def test_tiles_are_taken_fewer_at_a_time_when_memory_runs_out(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    star = tomograms(tmp_path)
    predict(star, model, tmp_path / "one", update_star=False)
    forward = published.IsoNetUNet.forward

    def small(self: published.IsoNetUNet, windows: torch.Tensor) -> torch.Tensor:
        if windows.shape[0] > 1:
            raise torch.OutOfMemoryError("out of memory, made up")
        return forward(self, windows)

    monkeypatch.setattr(published.IsoNetUNet, "forward", small)
    _, log = predict(star, model, tmp_path / "other", update_star=False, batch_size=4)
    assert "trying smaller batches" in log
    one, other = (mrc.read(tmp_path / name / "tomo1_corrected.mrc")[0] for name in ("one", "other"))
    np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.gpu
def test_a_gpu_gives_what_a_cpu_gives(tmp_path: Path, model: Path) -> None:
    star = tomograms(tmp_path)
    for device in ("cpu", "cuda"):
        options = {**TILES, "update_star": False}
        run_map_job("tomo.predict", tmp_path / device, {"star": star, "model": model}, options, device)
    one, other = (mrc.read(tmp_path / name / "tomo1_corrected.mrc")[0] for name in ("cpu", "cuda"))
    np.testing.assert_allclose(one, other, atol=0.05)


def without_the_third(star: Path) -> None:
    (star.parent / "tomo3.mrc").unlink()


def with_a_flat_one(star: Path) -> None:
    for number in (1, 2, 3):
        write_tomogram(star.parent / f"tomo{number}.mrc", np.ones(SHAPE, np.float32))


def with_a_network_of_something_else(star: Path) -> None:
    (star.parent / "model_iter30.h5").write_bytes(b"PK\x03\x04")


def nothing(star: Path) -> None:
    """The files are fine."""


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (without_the_third, {}, "row 3: .*tomo3.mrc"),
        (with_a_flat_one, {"tomo_idx": 1}, "all values are -?1; give a tomogram"),
        (with_a_network_of_something_else, {}, "no whole network for tomograms"),
        (nothing, {"cube_size": 64, "crop_size": 64}, "must be larger than cube_size 64"),
        (nothing, {"cube_size": 16, "crop_size": 24, "overlap": 9}, "crop must be 34 or more"),
        (nothing, {"cube_size": 15, "crop_size": 32}, "must both divide by 2"),
        (nothing, {"tomo_idx": "9"}, "9"),
        (nothing, {"output_prefix": "../"}, "output_prefix"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, model: Path, change: Callable[[Path], None], options: dict[str, Any], words: str
) -> None:
    star = tomograms(tmp_path, count=3)
    change(star)
    before = star.read_bytes()
    with pytest.raises(InputInvalid, match=words) as caught:
        predict(star, model, tmp_path / "out", **options)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "out").glob("*.mrc"))
    assert star.read_bytes() == before
