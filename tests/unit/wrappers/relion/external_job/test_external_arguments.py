"""RELION's command line for an External job is taken apart, whatever it holds."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryobridge.schemas.errors import OptionsInvalid
from cryobridge.wrappers.relion.external_job.arguments import RELION_INPUTS, output_of, read_call

LINE = (
    "--o External/job012/ --in_3dref Refine3D/job001/run_half1_class001_unfil.mrc --in_mask mask.mrc "
    "--effort quick --b_factor -100 --independent --whiten False --j 4 --pipeline_control External/job012/"
)
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


def test_a_line_as_relion_writes_it() -> None:
    call = read_call(LINE.split())
    assert call.output == "External/job012/"
    assert call.inputs == {"in_3dref": "Refine3D/job001/run_half1_class001_unfil.mrc", "in_mask": "mask.mrc"}
    assert (call.kind, call.threads) == ("", "4")
    assert call.labels == (
        ("effort", ("quick",)),
        ("b_factor", ("-100",)),
        ("independent", ()),
        ("whiten", ("False",)),
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--in_mask m.mrc --j 1", "--o is missing"),
        ("--o", "--o takes one value"),
        ("--o External/job1/ --in_mask my mask.mrc", "--in_mask takes one value, not 2"),
        ("--o External/job1/ --o External/job2/", "--o is given twice"),
        ("map.correct --o External/job1/", "'map.correct' belongs to no label"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(line: str, said: str) -> None:
    with pytest.raises(OptionsInvalid, match=said):
        read_call(line.split())


def test_the_folder_is_found_in_a_line_that_is_no_good() -> None:
    assert output_of(["stray", "--o", "External/job1/", "--j"]) == "External/job1/"
    assert output_of(["--j", "4"]) == ""


@given(st.lists(WORDS, max_size=20))
def test_any_words_are_read_or_refused_in_one_sentence(words: list[str]) -> None:
    with contextlib.suppress(OptionsInvalid):
        assert read_call(words).output == output_of(words)


NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_./]{0,20}", fullmatch=True)
LABELS = NAMES.filter(
    lambda name: name not in ("o", "j", "kind", "pipeline_control", "pipeline-control", *RELION_INPUTS)
)


@given(
    inputs=st.dictionaries(st.sampled_from(list(RELION_INPUTS)), NAMES),
    labels=st.lists(st.tuples(LABELS, st.lists(NAMES | st.just("-3.5"), max_size=3))),
    threads=st.integers(1, 99),
)
def test_what_relion_writes_comes_back_whole(
    inputs: dict[str, str], labels: list[tuple[str, list[str]]], threads: int
) -> None:
    line = ["--o", "External/job003/"]
    for name, value in inputs.items():
        line += [f"--{name}", value]
    for label, values in labels:
        line += [f"--{label}", *values]
    call = read_call([*line, "--j", str(threads), "--pipeline_control", "External/job003/"])
    assert call.inputs == inputs
    assert call.labels == tuple((label, tuple(values)) for label, values in labels)
    assert call.threads == str(threads)
