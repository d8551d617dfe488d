"""The records beside the run, kept by real hooks: which rows stand there, and that they never cost a map."""

import csv
import os
import zlib

import pytest

pytestmark = pytest.mark.faults

FIGURES = {
    "resolution_A": 4.25,
    "best_direction_A": 3.9,
    "worst_direction_A": 6.1,
    "cone_fsc_raw": 0.21,
    "cone_fsc_corrected": 0.4,
    "halves_apart": True,
    "mode": "independent",
    "steps": 300.0,
}
COMMIT = ["send", {"type": "commit", "ticket": "ticket-1"}]
WITH_FIGURES = ["corrected", "corrected", {"figures": FIGURES}]


def planned(half, line="starts later"):
    return [["standard"], ["send", {"type": "answer", "half": half, "code": "not_due", "line": line}]]


def corrected():
    steps = [["standard"], ["meet", "due"], WITH_FIGURES, ["verified"], ["meet", "agreed"], COMMIT]
    return {"1": steps, "2": steps}


def rows_of(job):
    path = job.folder / f"{job.root}.cryobridge" / "iterations.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def iterate(job, run_hook, daemon):
    hooks = [run_hook(job, half, daemon.socket) for half in (1, 2)]
    assert [hook.finish()[0] for hook in hooks] == [0, 0]


def test_a_corrected_iteration_leaves_one_row_with_its_figures(job, run_hook, fake_daemon):
    iterate(job, run_hook, fake_daemon(corrected()))
    (row,) = rows_of(job)
    assert (row["iteration"], row["reconstruction"], row["map"], row["code"]) == (
        "10", "class001", "corrected", "corrected",
    )  # fmt: skip
    assert (row["resolution_A"], row["best_direction_A"], row["worst_direction_A"]) == ("4.25", "3.90", "6.10")
    assert (row["cone_fsc_raw_sums"], row["cone_fsc_corrected_halves"]) == ("0.210", "0.400")
    assert (row["halves_apart"], row["mode"], row["steps"]) == ("yes", "independent", "300")
    assert float(row["seconds"]) >= 0
    assert job.leftovers() == []


def test_a_repeated_iteration_takes_the_place_of_its_row_and_later_ones(make_job, tmp_path, run_hook, fake_daemon):
    for iteration, line in ((10, "one"), (11, "two"), (12, "three"), (11, "again")):
        job = make_job(tmp_path / "project", iteration=iteration)
        run_hook(job, 1, fake_daemon({"1": planned(1, line)}).socket).finish()
    assert [(row["iteration"], row["why"]) for row in rows_of(job)] == [("10", "one"), ("11", "again")]


def test_without_a_daemon_the_row_says_so(job, run_hook):
    assert run_hook(job, 1).finish()[0] == 0
    (row,) = rows_of(job)
    assert (row["map"], row["code"], row["resolution_A"]) == ("standard", "no_daemon", "")


def test_a_guest_half_1_learns_the_figures_from_the_other_host(job, run_hook, fake_daemon):
    wait = [["standard"], ["send", {"type": "waiting", "half": 0}], ["beat", 30.0]]
    joint = [
        *(["standard", "standard", half] for half in (1, 2)),
        *(["corrected", "corrected", {"figures": FIGURES, "half": half}] for half in (1, 2)),
        ["verified", 1],
        ["verified", 2],
        COMMIT,
    ]
    daemons = [fake_daemon({half: wait, "12": joint}, welcome={"daemon_id": f"daemon-{half}"}) for half in ("1", "2")]
    # Half 2 shows itself second, so that now and then it is the owner; the row is the same either way.
    hooks = [run_hook(job, half, daemon.socket) for half, daemon in zip((1, 2), daemons, strict=True)]
    assert [hook.finish()[0] for hook in hooks] == [0, 0]
    (row,) = rows_of(job)
    assert (row["map"], row["cone_fsc_raw_sums"]) == ("corrected", "0.210")


@pytest.mark.parametrize("obstacle", ["folder", "huge", "not readable"])
def test_records_that_cannot_be_kept_cost_neither_map_nor_status(job, run_hook, fake_daemon, fake_map, obstacle):
    folder = job.folder / "run.cryobridge"
    folder.mkdir()
    path = folder / "iterations.csv"
    if obstacle == "folder":
        path.mkdir()
    elif obstacle == "huge":
        path.touch()
        os.truncate(path, 2**33)
    else:
        os.mkfifo(path)
    hook = run_hook(job, 1, fake_daemon({"1": planned(1)}).socket)
    status, output = hook.finish()
    assert status == 0
    assert output.count("standard map") == 1
    assert job.result(1).read_bytes() == fake_map(1, "standard")
    assert job.leftovers() == []


def joined(job, run_hook, fake_daemon, page, **announced):
    """The joined call of a refinement that has records, with a daemon that writes `page`."""
    folder = job.folder / "run.cryobridge"
    run_hook(job, 1, fake_daemon({"1": planned(1)}).socket).finish()
    told = {"report": {"size": len(page), "crc32": zlib.crc32(page)} | announced}
    answer = ["send", {"type": "answer", "half": 0, "code": "joined", "line": "the joined map"}]
    daemon = fake_daemon({"0": [["page", page.decode()], ["standard", "standard", told], answer]})
    assert run_hook(job, 0, daemon.socket).finish()[0] == 0
    assert {"history_in", "report_out"} <= set(daemon.received("call")[0]["fd_names"])
    assert job.leftovers() == []
    return folder / "report.html"


def test_the_joined_call_puts_the_page_in_place_and_adds_its_row(job, run_hook, fake_daemon):
    assert joined(job, run_hook, fake_daemon, b"<!doctype html>").read_bytes() == b"<!doctype html>"
    assert [row["reconstruction"] for row in rows_of(job)] == ["class001", "class001 joined"]


@pytest.mark.parametrize("announced", [{"crc32": 1}, {"size": 9999}])
def test_a_page_that_is_not_whole_is_not_put_in_place(job, run_hook, fake_daemon, announced):
    assert not joined(job, run_hook, fake_daemon, b"<!doctype html>", **announced).exists()


def test_a_joined_call_without_records_makes_none(job, run_hook, fake_daemon):
    answer = ["send", {"type": "answer", "half": 0, "code": "no_half_sets", "line": "Class3D"}]
    daemon = fake_daemon({"0": [["standard"], answer]})
    assert run_hook(job, 0, daemon.socket).finish()[0] == 0
    assert "report_out" not in daemon.received("call")[0]["fd_names"]
    assert not (job.folder / "run.cryobridge").exists()


def test_the_first_iteration_removes_the_network_of_an_earlier_refinement(make_job, tmp_path, run_hook, fake_daemon):
    for iteration, stays in ((2, True), (1, False)):
        job = make_job(tmp_path / f"project{iteration}", iteration=iteration)
        session = job.folder / "run.cryobridge" / "session.safetensors"
        session.parent.mkdir()
        session.write_bytes(b"of another refinement")
        daemon = fake_daemon({"1": planned(1)})
        assert run_hook(job, 1, daemon.socket).finish()[0] == 0
        assert session.exists() == stays
        assert ("session_in" in daemon.received("call")[0]["fd_names"]) == stays


def test_a_real_refinement_leaves_its_records_and_its_page(refinement):
    assert [call.status for call in refinement.iterate(1)] == [0, 0]
    last = refinement.begin(1, 0)
    assert last.wait() == 0
    folder = refinement.job_folder / "run.cryobridge"
    with (folder / "iterations.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["iteration"], row["reconstruction"], row["map"]) for row in rows] == [
        ("1", "class001", "corrected"),
        ("1", "class001 joined", "standard"),
    ]
    row = rows[0]
    print(row)
    assert 0 < float(row["best_direction_A"]) <= float(row["resolution_A"]) <= float(row["worst_direction_A"])
    assert all(-1 <= float(row[f"cone_fsc_{of}"]) <= 1 for of in ("raw_sums", "corrected_halves"))
    assert float(row["seconds"]) > 0
    assert "raw sums" in row["why"]
    assert "no resolution: " in row["why"]
    page = (folder / "report.html").read_text()
    assert "Of 1 answers up to iteration 1, 1 were corrected" in page
    assert "The figure to quote is that of the raw sums" in page
