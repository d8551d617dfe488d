"""What the hook makes of a settings file that it cannot read, and of the words of a newer daemon."""

import pytest

pytestmark = pytest.mark.faults


def answer(half, code, line):
    return ["send", {"type": "answer", "half": half, "code": code, "line": line}]


def result_line(output):
    """The line that says which map it is; there must be exactly one."""
    lines = [line for line in output.splitlines() if line.startswith(("cryobridge: standard", "cryobridge: corrected"))]
    assert len(lines) == 1, output
    return lines[0]


@pytest.mark.relion
@pytest.mark.usefixtures("stock_tool")
def test_a_settings_file_that_is_too_large_is_a_mistake_and_not_read_in_part(job, run_hook, fake_daemon, stock_map):
    """What stands before the limit must not be obeyed while what stands behind it is not seen."""
    (job.folder / "cryobridge.yaml").write_text("strict: false\nkeep_volumes: true\n" + "#" * 64 * 1024)
    daemon = fake_daemon({"1": [["standard"], answer(1, "not_due", "not reached")]})
    status, output = run_hook(job, 1, daemon.socket, CRYOBRIDGE_STRICT="1").finish()
    assert status == 1
    assert "cryobridge.yaml: larger than 65536 bytes" in result_line(output)
    assert job.result(1).read_bytes()[1024:] == stock_map(1)
    # Nobody knows what stands behind the limit, and what is deleted cannot be had back.
    assert all(path.exists() for path in job.inputs(1))
    assert daemon.received("call") == []


def test_frames_and_fields_of_a_newer_daemon_are_passed_over(job, run_hook, fake_daemon, fake_map):
    news = ["send", {"type": "news of the future", "half": 1}]
    last = ["send", {"type": "answer", "half": 1, "code": "not_due", "line": "not yet", "colour": "blue"}]
    daemon = fake_daemon({"1": [news, ["standard"], last]})
    status, output = run_hook(job, 1, daemon.socket).finish()
    assert status == 0
    assert "not yet" in result_line(output)
    assert job.result(1).read_bytes() == fake_map(1, "standard")


@pytest.mark.parametrize(("code", "expected"), [("of the future", 1), ("disk_full", 1), ("gradient", 0)])
def test_a_code_that_is_not_known_is_a_failure(job, run_hook, fake_daemon, fake_map, code, expected):
    daemon = fake_daemon({"1": [["standard"], answer(1, code, "so it is")]})
    status, output = run_hook(job, 1, daemon.socket, CRYOBRIDGE_STRICT="1").finish()
    assert status == expected
    assert ("the next iteration tries again" in output) == bool(expected)
    assert job.result(1).read_bytes() == fake_map(1, "standard")
