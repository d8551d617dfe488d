"""A real RELION refinement to its own end, every call answered by our hook and a daemon it starts itself."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from cryobridge.wrappers.relion.demo import jobfiles, quality, real_relion, refinement
from cryobridge.wrappers.relion.demo.particles import Particles, simulate

pytestmark = [pytest.mark.acceptance, pytest.mark.relion, pytest.mark.slow, pytest.mark.timeout(900)]

HOOK = Path(sys.executable).with_name("cryobridge-relion")


@pytest.fixture(scope="module")
def particles() -> Particles:
    """Particles with a preferred orientation, from the demo's simulator."""
    return simulate(replace(real_relion.RECIPE, n_particles=400))


@pytest.fixture
def finished(tmp_path, relion, private_runtime, particles) -> real_relion.RelionRun:
    """The run, with correction from the middle on and few training steps."""
    refinement.prepare(tmp_path, particles)
    settings = (tmp_path / jobfiles.ROOT).with_name("cryobridge.yaml")
    settings.write_text("network: {steps: 16, warm_steps: 6, batch: 2, cube_size: 16, crop_size: 48}\n")
    environment = {**real_relion.EARLY_CORRECTION, **private_runtime.environment}
    return real_relion.run(tmp_path, particles, str(HOOK), environment, timeout_s=840)


def test_relion_runs_to_its_end_on_corrected_maps(finished, particles):
    """RELION converges; every call has its line; corrections began mid-run, in pairs, with no fall-back."""
    said = finished.log[-3000:] + finished.errors[-3000:]
    assert finished.converged, said
    last = finished.iterations
    answers = finished.answers
    expected = [(number, half) for number in range(1, last) for half in (1, 2)] + [(last, 0)]
    assert sorted((answer.iteration, answer.half) for answer in answers) == expected, said
    corrected = finished.corrected_iterations
    assert len(corrected) >= 2
    assert 1 < corrected[0] < last
    assert sum(answer.kind == "corrected" for answer in answers) == 2 * len(corrected)
    assert "tries again" not in finished.log, [answer for answer in answers if "tries again" in answer.text]
    # Once due, always due: the sampling only gets finer.
    assert corrected == list(range(corrected[0], last))

    folder = (finished.project / jobfiles.ROOT).parent
    assert list(folder.glob("*_external_reconstruct_data_*.mrc")) == []
    assert list(folder.glob("*_external_reconstruct_weight.mrc")) == []
    assert list(folder.glob(".*cryobridge*")) == []
    for path in [*folder.glob("run_it*_half?_class001.mrc"), folder / "run_class001.mrc"]:
        assert np.isfinite(mrcfile.read(path)).all(), path
    result = mrcfile.read(folder / "run_class001.mrc").astype(float)
    overall, _, _ = quality.fsc_to_truth(result, particles.truth).means(upto_shell=8)
    assert overall > 0.8
    errors = quality.angular_errors_deg(real_relion.refined_views(finished.project), particles.euler_deg)
    assert np.median(errors) < 6.0
