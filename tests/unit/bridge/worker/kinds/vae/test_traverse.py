"""`vae.traverse` goes where it was asked to, keeps to the particles on a graph, and makes the model's volumes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.map_jobs import read_back, run_map_job
from support.moving_run import MovingModel, made_up_series, write_moving_run

from cryobridge.bridge.worker.report import figures
from cryobridge.schemas.errors import InputInvalid

pytestmark = pytest.mark.slow

ANGLE = np.linspace(0, np.pi, 150)
HORSESHOE = np.stack([2 * np.cos(ANGLE), 2 * np.sin(ANGLE)], axis=1)


def done(tmp_path: Path, options: dict[str, Any], **inputs: Path) -> tuple[dict[str, Any], Path]:
    run = write_moving_run(tmp_path / "run", HORSESHOE)
    result, _ = run_map_job("vae.traverse", tmp_path / "out", {"run": run, **inputs}, options)
    return result, tmp_path / "out"


def test_a_graph_goes_around_what_is_empty(tmp_path: Path) -> None:
    result, out = done(tmp_path, {"anchor_inds": [0, 149], "count": 4})
    with np.load(out / "path.npz") as found:
        indices = found["indices"]
        np.testing.assert_allclose(found["z"], HORSESHOE[indices], rtol=1e-6)
    assert indices[[0, -1]].tolist() == [0, 149]
    assert result["metrics"]["length"] == pytest.approx(2 * np.pi, rel=0.01)
    assert result["metrics"]["volumes"] == 4
    z = np.loadtxt(out / "z_path.txt")
    assert len(z) == len(indices)
    with open(out / "path.csv", newline="") as file:
        table = list(csv.DictReader(file))
    made = [row for row in table if row["file"]]
    assert [row["file"] for row in made] == [f"path_{number:03d}.mrc" for number in range(4)]
    latent = torch.tensor([[float(made[2]["z1"]), float(made[2]["z2"])]])
    torch.testing.assert_close(read_back(out / "path_002.mrc"), MovingModel(2).volumes(latent)[0].double())
    assert '"path_003.mrc"' in (out / "path.cxc").read_text()
    assert "does not say that the molecule takes it" in (out / "report.html").read_text()


def test_images_of_a_tilt_series_are_one_particle_on_the_way(tmp_path: Path) -> None:
    """With more images of a particle than neighbours it would be among itself; any of its images names it."""
    run = write_moving_run(tmp_path / "run", np.tile(HORSESHOE, (12, 1)), particles=made_up_series(150, 12))
    options = {"anchors": [150, 11 * 150 + 149], "skip_volumes": True}
    run_map_job("vae.traverse", tmp_path / "out", {"run": run}, options)
    with np.load(tmp_path / "out" / "path.npz") as found:
        assert found["anchors"].tolist() == found["indices"][[0, -1]].tolist() == [0, 149]
        np.testing.assert_allclose(found["z"], HORSESHOE[found["indices"]], rtol=1e-6)
    with pytest.raises(InputInvalid, match="all are the same particle"):
        run_map_job("vae.traverse", tmp_path / "none", {"run": run}, {"anchors": [3, 153]})


def test_without_anchors_a_graph_joins_the_ends_of_the_first_component(tmp_path: Path) -> None:
    _, out = done(tmp_path, {"skip_vol": True})
    with np.load(out / "path.npz") as found:
        ends = HORSESHOE[found["anchors"]]
    assert abs(ends[0, 0] - ends[1, 0]) > 3
    assert not list(out.glob("*.mrc"))


def test_a_direct_way_is_straight_and_may_come_back(tmp_path: Path) -> None:
    (tmp_path / "z.txt").write_text("0 0\n1 0\n1 2\n")
    _, out = done(
        tmp_path, {"way": "direct", "between": 1, "loop": True, "skip_volumes": True}, z_file=tmp_path / "z.txt"
    )
    expected = [[0, 0], [0.5, 0], [1, 0], [1, 1], [1, 2], [0.5, 1], [0, 0]]
    np.testing.assert_allclose(np.loadtxt(out / "z_path.txt"), expected)


def test_a_component_is_followed_by_percentiles(tmp_path: Path) -> None:
    options = {"way": "component", "dim": 1, "count": 5, "use_percentile_spacing": True, "skip_volumes": True}
    _, out = done(tmp_path, options)
    expected = np.percentile(HORSESHOE[:, 0], np.linspace(5, 95, 5))
    np.testing.assert_allclose(np.sort(np.loadtxt(out / "z_path.txt")[:, 0]), expected, atol=1e-3)


@pytest.mark.parametrize("way", [{"way": "component"}, {"way": "graph"}, {"way": "direct", "anchors": [0, 149]}])
def test_without_volumes_the_page_speaks_of_none(tmp_path: Path, way: dict[str, Any]) -> None:
    _, out = done(tmp_path, {**way, "count": 3, "skip_volumes": True})
    page = (out / "report.html").read_text()
    assert "Volumes were made" not in page
    assert "none were asked for" in page
    assert "numbers are steps of path.csv" in page


def test_places_of_volumes_have_the_numbers_of_the_volumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, draw = [], figures.latent_map

    def noted(*given: Any) -> bytes:
        drawn.append(given[4])
        return draw(*given)

    monkeypatch.setattr(figures, "latent_map", noted)
    _, out = done(tmp_path, {"anchors": [0, 149], "count": 3, "first_number": 5})
    assert drawn == [[5, 6, 7]]
    assert sorted(path.name for path in out.glob("path_*.mrc")) == [f"path_00{number}.mrc" for number in (5, 6, 7)]
    assert "numbers are those of the volumes" in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"anchors": [0, 150]}, "has no particle 150; its particles are 0 to 149"),
        ({"way": "direct"}, "a direct way needs 'anchors' or a 'z_file'"),
        ({"way": "component", "component": 3}, "component 3: latents of .* have 2"),
        ({"anchors": [3]}, "two particles or more"),
        ({"anchors": [3, 3]}, "all are the same particle"),
        ({"anchors": [0, 149], "average_neighbours": 1, "most_neighbours": 1}, "cannot be reached"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputInvalid, match=said):
        done(tmp_path, options)
    assert not (tmp_path / "out").exists()


def test_between_images_of_one_particle_of_a_tilt_series_there_is_no_way(tmp_path: Path) -> None:
    run = write_moving_run(tmp_path / "run", np.repeat(HORSESHOE, 3, axis=0))
    with pytest.raises(InputInvalid, match="or have its latent"):
        run_map_job("vae.traverse", tmp_path / "none", {"run": run}, {"anchors": [0, 2], "skip_volumes": True})
    run_map_job("vae.traverse", tmp_path / "out", {"run": run}, {"anchors": [2, 449], "skip_volumes": True})
    with np.load(tmp_path / "out" / "path.npz") as found:
        assert found["indices"][[0, -1]].tolist() == found["anchors"].tolist() == [2, 449]
        assert len(np.unique(found["z"], axis=0)) == len(found["z"]) > 20
