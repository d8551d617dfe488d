"""The worker process alone: a real one, with the test in the daemon's place."""

import shutil

import mrcfile
import numpy as np
import pytest
from support.refinement import FAST, Refinement, difference, simulate
from support.worker import RealWorker

from cryobridge.schemas.wire import SILENCE_LIMIT_S

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def simulated():
    return simulate()


@pytest.fixture
def refinement(simulated, tmp_path):
    return Refinement.start(tmp_path / "project", simulated, {})


@pytest.fixture(scope="module")
def worker():
    worker = RealWorker()
    worker.reply("ready")
    yield worker
    worker.end()


@pytest.fixture
def outputs(tmp_path):
    folder = tmp_path / "outputs"
    folder.mkdir()
    return folder


def read(path):
    with mrcfile.open(path) as file:
        return np.array(file.data)


def halves(worker, refinement, outputs, iteration, name, **extra):
    """Both halves of an iteration; returns their `standard` replies."""
    replies = []
    for half in (1, 2):
        star = refinement.write_call(iteration, half)
        worker.send_half(f"{name}{half}", refinement.project, star, half, outputs, **dict(extra))
        replies.append(worker.reply("standard").message)
    return replies


def test_the_standard_map_is_that_of_relions_own_program(worker, refinement, outputs, relion):
    star = refinement.write_call(3, 1)
    worker.send_half("a1", refinement.project, star, 1, outputs, environment={"CRYOBRIDGE_STYLE": "stock"})
    reply = worker.reply("standard").message
    stock = refinement.stock(3, 1, relion["relion_external_reconstruct"])
    assert difference(read(outputs / "a1_standard.mrc"), stock) < 1e-6
    assert reply["size"] == (outputs / "a1_standard.mrc").stat().st_size


def test_a_call_that_is_not_due_says_why(worker, refinement, outputs):
    first, second = halves(worker, refinement, outputs, 3, "b", environment={"ISONET_START_HEALPIX": "5"})
    for reply in (first, second):
        assert not reply["due"]
        assert "healpix order 5 (now 3)" in reply["line"]


def test_an_iteration_is_corrected_and_the_next_goes_on_warm(worker, refinement, outputs):
    for reply in halves(worker, refinement, outputs, 3, "c", environment=FAST):
        assert reply["due"]
    worker.channel.send({"type": "correct", "task": "c", "half1": "c1", "half2": "c2"})
    first = worker.reply("corrected").message
    assert first["metrics"]["warm"] == 0
    assert first["session"]["size"] == (outputs / "session.part").stat().st_size
    for half in ("1", "2"):
        corrected, standard = (read(outputs / f"c{half}_{kind}.mrc") for kind in ("corrected", "standard"))
        assert np.isfinite(corrected).all()
        assert 0 < difference(corrected, standard) < 1
    assert "one network" in first["line"]

    halves(worker, refinement, outputs, 4, "d", environment=FAST)
    worker.channel.send({"type": "correct", "task": "d", "half1": "d1", "half2": "d2"})
    second = worker.reply("corrected").message
    assert second["metrics"]["warm_from"] == "memory"
    assert (first["metrics"]["steps"], second["metrics"]["steps"]) == (6, 4)
    for task in ("c1", "c2", "d1", "d2"):
        worker.channel.send({"type": "forget", "task": task})
        worker.reply("forgotten")


def test_a_network_that_takes_no_steps_is_said_to_be_used_as_it_came(worker, refinement, outputs):
    environment = {**FAST, "CRYOBRIDGE_STEPS": "0", "CRYOBRIDGE_SEED": "7"}
    halves(worker, refinement, outputs, 3, "n", environment=environment)
    worker.channel.send({"type": "correct", "task": "n", "half1": "n1", "half2": "n2"})
    found = worker.reply("corrected").message
    assert "pre-trained network, used as it came" in found["line"]
    assert "nan" not in found["line"]
    assert "loss_first" not in found["metrics"]
    assert found["metrics"]["steps"] == 0


def test_a_new_worker_goes_on_from_the_folder(refinement, outputs):
    one = RealWorker()
    halves(one, refinement, outputs, 3, "e", environment=FAST)
    one.channel.send({"type": "correct", "task": "e", "half1": "e1", "half2": "e2"})
    one.reply("corrected")
    one.process.kill()
    one.end()
    shutil.move(outputs / "session.part", outputs / "session.safetensors")

    other = RealWorker()
    halves(other, refinement, outputs, 4, "f", environment=FAST)
    other.channel.send({"type": "correct", "task": "f", "half1": "f1", "half2": "f2"})
    assert other.reply("corrected").message["metrics"]["warm_from"] == "disk"
    other.end()


@pytest.mark.parametrize("damage", [b"", b"\x00" * 100, b"\xff" * 4096, b'\x10\x00\x00\x00\x00\x00\x00\x00{"a":'])
def test_a_damaged_session_file_means_a_fresh_start(worker, refinement, outputs, damage):
    (outputs / "session.safetensors").write_bytes(damage)
    halves(worker, refinement, outputs, 3, "g", environment={**FAST, "CRYOBRIDGE_SEED": "5"})
    worker.channel.send({"type": "release", "session": str(refinement.project / "Refine3D/job001/run")})
    worker.reply("released")
    worker.channel.send({"type": "correct", "task": "g", "half1": "g1", "half2": "g2"})
    assert worker.reply("corrected").message["metrics"]["warm_from"] == "none"


@pytest.mark.parametrize(
    ("settings", "code"),
    [("network: {alpha: 1.0e+39, cube_size: 16, crop_size: 32, batch: 2}", "bad_result")],
)
def test_a_network_that_diverges_is_never_handed_out(worker, refinement, outputs, settings, code):
    halves(worker, refinement, outputs, 3, "h", environment=FAST, settings=settings)
    worker.channel.send({"type": "correct", "task": "h", "half1": "h1", "half2": "h2"})
    reply = worker.reply(("failed", "corrected")).message
    assert reply["type"] == "failed"
    assert reply["code"] == code


def test_truncated_sums_are_refused_by_name(worker, refinement, outputs):
    star = refinement.write_call(3, 1)
    path = refinement.project / str(star).replace(".star", "_weight.mrc")
    path.write_bytes(path.read_bytes()[:5000])
    worker.send_half("i1", refinement.project, star, 1, outputs)
    reply = worker.reply("failed").message
    assert reply["code"] == "input_invalid"
    assert "_weight.mrc" in reply["text"]


def test_without_room_for_a_corrected_map_none_is_made(worker, refinement, outputs):
    star = refinement.write_call(3, 1)
    worker.send_half("m1", refinement.project, star, 1, outputs, environment=FAST, no_room=True)
    reply = worker.reply("standard").message
    assert (reply["due"], reply["code"]) == (False, "disk_full")


def test_a_mask_that_cannot_be_used_does_not_cost_the_standard_map(worker, simulated, tmp_path, outputs):
    own = Refinement.start(tmp_path / "own", simulated, {})
    with mrcfile.new(own.project / "data/mask.mrc", overwrite=True) as file:
        file.set_data(np.ones((8, 8, 8), np.float32))
    reply = halves(worker, own, outputs, 3, "s", environment=FAST)[0]
    assert (reply["due"], reply["code"]) == (False, "input_invalid")
    assert "mask is (8, 8, 8)" in reply["line"]
    assert np.isfinite(read(outputs / "s1_standard.mrc")).all()


def test_without_a_pixel_size_the_standard_map_is_made_and_the_log_says_why(worker, refinement, outputs):
    star = refinement.write_call(3, 1)
    path = refinement.project / star
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "rlnPixelSize" not in line))
    (refinement.project / "Refine3D/job001/run_it002_half1_model.star").write_text("data_model_general\n\n_rlnX 1\n")
    worker.send_half("t1", refinement.project, star, 1, outputs, environment=FAST)
    reply = worker.reply("standard").message
    assert (reply["due"], reply["code"]) == (False, "input_invalid")
    assert "pixel size" in reply["line"]
    assert np.isfinite(read(outputs / "t1_standard.mrc")).all()


def test_an_unknown_settings_key_names_the_nearest(worker, refinement, outputs):
    star = refinement.write_call(3, 1)
    worker.send_half("j1", refinement.project, star, 1, outputs, settings="start_healpx: 2")
    assert "did you mean 'start_healpix'" in worker.reply("failed").message["text"]


def test_what_the_hook_has_read_is_not_read_again(worker, refinement, outputs):
    chosen = {"strict": False, "keep_volumes": False, "deadline_s": 77.0, "correction": False}
    star = refinement.write_call(3, 1)
    worker.send_half("n1", refinement.project, star, 1, outputs, environment=FAST, hook_settings=chosen)
    reply = worker.reply("standard").message
    assert (reply["due"], reply["code"], reply["deadline_s"]) == (False, "off", 77.0)


def test_flow_style_that_the_hook_has_read_is_obeyed(worker, refinement, outputs):
    chosen = {"strict": False, "keep_volumes": True, "deadline_s": None, "correction": True}
    star = refinement.write_call(3, 1)
    text = "{keep_volumes: true, start_healpix: 12}"
    worker.send_half("q1", refinement.project, star, 1, outputs, settings=text, hook_settings=chosen)
    reply = worker.reply("standard").message
    assert (reply["due"], reply["code"]) == (False, "not_due")
    assert "healpix order 12" in reply["line"]


def test_a_mistake_in_the_settings_has_a_code_of_its_own(worker, refinement, outputs):
    star = refinement.write_call(3, 1)
    worker.send_half("r1", refinement.project, star, 1, outputs, settings="start_healpx: 2")
    assert worker.reply("failed").message["code"] == "settings_invalid"


def test_a_setting_that_the_hook_does_not_read_is_refused_with_a_way_to_write_it(worker, refinement, outputs):
    star = refinement.write_call(3, 1)
    worker.send_half("o1", refinement.project, star, 1, outputs, settings="{correction: false}")
    reply = worker.reply("failed").message
    assert reply["code"] == "input_invalid"
    assert "write it once, on a line of its own" in reply["text"]


def test_a_call_goes_first_while_another_iteration_trains(worker, refinement, outputs):
    slow = {**FAST, "CRYOBRIDGE_STEPS": "50000"}
    halves(worker, refinement, outputs, 3, "k", environment=slow)
    worker.channel.send({"type": "correct", "task": "k", "half1": "k1", "half2": "k2"})
    star = refinement.write_call(5, 1)
    worker.send_half("l1", refinement.project, star, 1, outputs)
    assert worker.reply(("standard", "corrected")).message["task"] == "l1"
    worker.channel.send({"type": "cancel", "task": "k"})
    assert worker.reply("failed", timeout_s=SILENCE_LIMIT_S * 2).message["code"] == "cancelled"
