"""The rows beside the run: what a repeated iteration does to them, and that no text breaks them."""

import csv
import io
import math

import pytest

from cryobridge.schemas import iterations
from cryobridge.schemas.iterations import IterationFigures, as_text, parse, row, with_row
from cryobridge.schemas.messages import TO_HOOK


def made(iteration, what="class001", why="", **figures):
    return row(
        iteration, what, "corrected", figures=IterationFigures(**figures), seconds=1.25, code="corrected", why=why
    )


def test_a_row_says_what_is_known_and_leaves_the_rest_empty():
    told = made(3, resolution_A=4.256, halves_apart=False, steps=300.0, cone_fsc_raw=0.4567)
    assert told["resolution_A"] == "4.26"
    assert told["cone_fsc_raw_sums"] == "0.457"
    assert told["cone_fsc_corrected_halves"] == told["mode"] == ""
    assert (told["halves_apart"], told["steps"], told["seconds"]) == ("no", "300", "1.2")


def test_a_repeated_iteration_replaces_its_row_and_those_after_it():
    rows = []
    for iteration in (1, 2, 3, 4):
        rows = with_row(rows, made(iteration, why="first"))
    rows = with_row(rows, made(3, why="second"))
    assert [(one["iteration"], one["why"]) for one in rows] == [("1", "first"), ("2", "first"), ("3", "second")]


def test_the_first_iteration_of_a_new_run_leaves_nothing_of_the_old_one():
    assert with_row([made(1), made(9)], made(1, why="new"))[:] == [made(1, why="new")]


def test_bodies_of_one_iteration_and_the_joined_call_stand_beside_each_other():
    rows = with_row(with_row([made(5, "body001")], made(5, "body002")), made(5, "body001 joined"))
    assert [one["reconstruction"] for one in rows] == ["body001", "body002", "body001 joined"]


@pytest.mark.parametrize("why", ['a "b", c', "two\nlines\r\x1b[31m", "=HYPERLINK(1)", "\udcff, ä", ""])
def test_whatever_the_reason_the_file_has_one_line_per_row(why):
    text = as_text([made(1, why=why), made(2)])
    assert len(text.splitlines()) == 3
    assert all(len(values) == len(iterations.COLUMNS) for values in csv.reader(io.StringIO(text)))
    assert as_text(parse(text)) == text
    assert not parse(text)[0]["why"].startswith("=")


@pytest.mark.parametrize("text", ["", "\0\0", "something else\n1,2\n", '"' * 1001, "iteration;map\n1;x\n"])
def test_a_file_that_is_not_ours_has_no_rows(text):
    assert parse(text) == []


def test_damaged_lines_are_passed_over():
    text = as_text([made(1), made(2)])
    assert [one["iteration"] for one in parse(text + "3,class0\n\nx" + ",1" * 13 + "\n")] == ["1", "2"]


def test_figures_of_metrics_leave_out_what_is_no_number():
    figures = IterationFigures.of_metrics(
        {
            "limit_resolution_A": math.inf,
            "cone_fsc_raw": math.nan,
            "steps": 4,
            "mode": "shared",
            "best_direction_A": "x",
        }
    )
    assert (figures.resolution_A, figures.cone_fsc_raw, figures.best_direction_A) == (None, None, None)
    assert (figures.steps, figures.mode, figures.halves_apart) == (4.0, "shared", None)


def test_a_figure_that_is_none_costs_no_map_and_an_older_daemon_sends_none():
    plain = {"type": "standard", "half": 1, "size": 4, "crc32": 5}
    assert TO_HOOK.decode(plain).resolution_A is None
    assert TO_HOOK.decode(plain | {"resolution_A": "wide"}).resolution_A is None
    corrected = {"type": "corrected", "half": 1, "size": 4, "crc32": 5, "ticket": "t", "line": ""}
    assert TO_HOOK.decode(corrected).figures is None
    assert TO_HOOK.decode(corrected | {"figures": {"cone_fsc_raw": "x"}}).figures == IterationFigures()
