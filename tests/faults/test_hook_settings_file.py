"""What the hook makes of `cryobridge.yaml` however it is written: it obeys it, or refuses it and loses nothing."""

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.relion, pytest.mark.usefixtures("stock_tool")]

DONE = [["standard"], ["send", {"type": "answer", "half": 1, "code": "not_due", "line": "not yet"}]]


def settings(job, text):
    (job.folder / "cryobridge.yaml").write_bytes(text.encode())


@pytest.mark.parametrize("with_daemon", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        "{keep_volumes: true, start_healpix: 12}",
        "{\n  keep_volumes: yes,\n  start_healpix: 12,\n}\n",
        "? keep_volumes\n: true\n",
        "---\r\nkeep_volumes : on\r\n",
    ],
)
def test_volumes_are_kept_however_the_wish_is_written(job, run_hook, fake_daemon, text, with_daemon):
    settings(job, text)
    daemon = fake_daemon({"1": DONE})
    status, output = run_hook(job, 1, daemon.socket if with_daemon else "/nonexistent/s").finish()
    assert status == 0
    assert "edit" not in output
    assert job.result(1).exists()
    assert all(path.exists() for path in job.inputs(1))
    if with_daemon:
        assert daemon.received("call")[0]["hook_settings"]["keep_volumes"] is True


def test_the_other_wishes_are_read_from_flow_style_too(job, run_hook, fake_daemon):
    settings(job, "{correction: false, strict: true, keep_volumes: false}")
    daemon = fake_daemon({"1": [["standard"], ["close"]]})
    status, _ = run_hook(job, 1, daemon.socket).finish()
    call = daemon.received("call")[0]
    assert status == 1
    assert "half1.corrected" not in call["fd_names"]
    assert call["hook_settings"] == {"strict": True, "keep_volumes": False, "deadline_s": None, "correction": False}
    assert not any(path.exists() for path in job.inputs(1))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("keep_volume: true\n", "unknown key 'keep_volume'; did you mean 'keep_volumes'?"),
        ("start_healpx: 2\n", "unknown key 'start_healpx'; did you mean 'start_healpix'?"),
        ("{keep_volumes: true", "not YAML"),
        ("keep_volumes: y\n", "'keep_volumes' is not written as the hook reads it"),
        ("keep_volumes: true\nkeep_volumes: false\n", "write it once"),
        ("start_healpix: 2001-99-99\n", "holds a date"),
        ("start_healpix: 0x" + "f" * 5000, "whole number"),
        ("\ufeff\tkeep_volumes: true\n", "not YAML"),
        ("keep_volumes: true\n" + "#" * 64 * 1024, "larger than 65536 bytes"),
    ],
)
def test_a_mistake_without_a_daemon_costs_no_volumes_and_says_edit(job, run_hook, stock_map, text, said):
    settings(job, text)
    status, output = run_hook(job, 1).finish()
    assert status == 0
    assert said in output
    assert "edit Refine3D/job001/cryobridge.yaml" in output
    assert "tries again" not in output
    assert job.result(1).read_bytes()[1024:] == stock_map(1)
    assert all(path.exists() for path in job.inputs(1))


def test_a_mistake_that_the_daemon_finds_costs_no_volumes_and_says_edit(job, run_hook, fake_daemon, stock_map):
    settings(job, "start_healpx: 2\n")
    text = "cryobridge.yaml: unknown key 'start_healpx'; did you mean 'start_healpix'?"
    daemon = fake_daemon({"1": [["send", {"type": "failed", "code": "settings_invalid", "text": text}]]})
    status, output = run_hook(job, 1, daemon.socket).finish()
    assert status == 0
    assert f"{text}; edit Refine3D/job001/cryobridge.yaml" in output
    assert "tries again" not in output
    assert job.result(1).read_bytes()[1024:] == stock_map(1)
    assert all(path.exists() for path in job.inputs(1))


@pytest.mark.slow
def test_a_mistake_costs_no_map_where_relions_tool_is_missing(job, run_hook, fake_daemon, tmp_path):
    settings(job, "start_healpx: 2\n")
    daemon = fake_daemon({"1": [["send", {"type": "failed", "code": "settings_invalid", "text": "cryobridge.yaml"}]]})
    status, _ = run_hook(job, 1, daemon.socket, PATH=str(tmp_path)).finish(timeout_s=120)
    assert status == 0
    assert job.result(1).exists()


def test_a_settings_file_that_cannot_be_read_is_a_mistake(job, run_hook):
    (job.folder / "cryobridge.yaml").mkdir()
    status, output = run_hook(job, 1).finish()
    assert status == 0
    assert "cryobridge.yaml: cannot be read" in output
    assert all(path.exists() for path in job.inputs(1))


def test_a_variable_that_says_something_else_keeps_the_volumes(job, run_hook, fake_daemon):
    daemon = fake_daemon({"1": DONE})
    run_hook(job, 1, daemon.socket, CRYOBRIDGE_KEEP_VOLUMES="y").finish()
    assert all(path.exists() for path in job.inputs(1))


@pytest.mark.parametrize("half", [1, 2])
def test_a_misspelt_variable_is_named_once_with_the_nearest(job, run_hook, fake_daemon, half):
    done = [["standard"], ["send", {"type": "answer", "half": half, "code": "not_due", "line": "not yet"}]]
    daemon = fake_daemon({str(half): done})
    status, output = run_hook(job, half, daemon.socket, CRYOBRIDGE_KEEP_VOLUME="1", ISONET_BETTA="1").finish()
    assert status == 0
    lines = [line for line in output.splitlines() if "did you mean CRYOBRIDGE_KEEP_VOLUMES?" in line]
    assert len(lines) == (1 if half == 1 else 0)
    assert all("did you mean ISONET_BETA?" in line for line in lines)
