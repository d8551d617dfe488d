"""The block in a card's description: what is written is read back, and what users write is one sentence at worst."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryobridge.schemas.envelope import JOB_SCHEMA
from cryobridge.schemas.errors import CryobridgeError, OptionsInvalid
from cryobridge.schemas.job import JOB_MODELS, parse_job
from cryobridge.wrappers.cryosparc.options_block import (
    MAX_CHARACTERS,
    OWN_KEYS,
    CardOptions,
    has_block,
    read_block,
    request_mark,
    written_block,
)
from cryobridge.wrappers.cryosparc.recipes import recipes

KEY = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=20).filter(
    lambda key: key[0].isalpha() and key not in OWN_KEYS
)
VALUE = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40).filter(
    lambda value: len(value.splitlines()) == 1 and value == value.strip() and "```" not in value and "#" not in value
)
KINDS = sorted(recipes())


def block(*lines: str) -> str:
    return "\n".join(["Some words of a user.", "```cryobridge", *lines, "```", "and more"])


@settings(deadline=None)
@given(
    st.sampled_from(KINDS),
    st.sampled_from(["tag", "when_connected"]),
    st.sampled_from(["auto", "mask_refine", "none"]),
    st.dictionaries(KEY, VALUE | st.dictionaries(KEY, VALUE, min_size=1, max_size=3), max_size=5),
)
def test_what_is_written_is_read_back(kind, go, use_mask, options) -> None:
    asked = CardOptions(kind, go, use_mask, options)
    description = f"help for {kind}\n\n{written_block(asked, 'abc')}\nwords behind it\n"
    assert read_block(description) == asked
    assert request_mark("abc") in description


@settings(deadline=None)
@given(st.text(max_size=300) | st.text("```cryobridge\n =#.ajob", max_size=200))
def test_any_text_is_options_or_one_sentence(text: str) -> None:
    for description in (text, f"```cryobridge\njob = map.correct\n{text}\n```"):
        try:
            said = f"the options in this job's description: {read_block(description)}"
        except OptionsInvalid as error:
            said = str(error)
        assert said.startswith("the options in this job's description: ")


@pytest.mark.parametrize("kind", KINDS)
def test_every_line_can_be_uncommented_as_it_is(kind: str) -> None:
    """A user takes away the # in front of each line, as the card says, and gets the defaults."""
    lines = written_block(CardOptions(kind), "abc").splitlines()
    uncommented = [line.removeprefix("# ") if " = " in line or " =" in line else line for line in lines]
    assert sum(line.startswith("#") for line in uncommented) == 1
    asked = read_block("\n".join(uncommented))
    inputs = {
        key: f"/data/{key}.mrc"
        for key, field in JOB_MODELS[kind].model_fields["inputs"].annotation.model_fields.items()
        if field.is_required()
    }
    spec = {"schema": JOB_SCHEMA, "kind": kind, "inputs": inputs, "output": "/data/out"}
    as_written = written_block(CardOptions(kind), "abc")
    needed = dict.fromkeys(("resolution_A", "threshold_resolution_A", "box", "voxel_size_A"), "32")
    fields = JOB_MODELS[kind].model_fields["options"].annotation.model_fields
    needed = {key: value for key, value in needed.items() if key in fields and fields[key].is_required()}
    given_all = parse_job({**spec, "options": {**needed, **asked.options}}, "here")
    given_none = parse_job({**spec, "options": {**needed, **read_block(as_written).options}}, "here")
    assert as_on_a_gpu(given_all.options) == as_on_a_gpu(given_none.options)


def as_on_a_gpu(options: Any) -> Any:
    """The options with what a GPU's defaults are where none was chosen: the block shows those."""
    defaults = type(options).defaults_on("cuda")
    return options.model_copy(update={key: one for key, one in defaults.items() if getattr(options, key) is None})


def test_a_kind_has_no_option_of_a_name_of_ours() -> None:
    for kind in KINDS:
        assert not set(OWN_KEYS) & set(JOB_MODELS[kind].model_fields["options"].annotation.model_fields)


@pytest.mark.parametrize(
    ("description", "sentence"),
    [
        ("", "no block that begin with ```cryobridge; there must be one"),
        ("only words", "no block"),
        (block("job = map.correct") + block("job = map.fsc3d"), "2 blocks"),
        ("```cryobridge\njob = map.correct\n", "does not end"),
        ("```cryobridge\n" + "# words\n" * 500 + "```", "does not end"),
        (block("# nothing"), "the line 'job = ...' is missing"),
        (block("job ="), "the line 'job = ...' is missing"),
        (block("job = map.correct", "effort quick"), "'effort quick' is not written as 'key = value'"),
        (block("job = map.correct", "effort = quick", "effort = careful"), "'effort' stands twice"),
        (block("job = map.correct", "job = map.fsc3d"), "'job' stands twice"),
        (block("job = map.correct", "go = now"), "'go' must be one of tag, when_connected (it is 'now')"),
        (block("job = map.correct", "use_mask = mine"), "'use_mask' must be one of auto"),
        (block("job = map.correct", "network = a", "network.norm = b"), "'network' and 'network.norm' contradict"),
        (block("job = map.correct", "../etc/passwd = 1"), "is not written as 'key = value'"),
        ("x" * (MAX_CHARACTERS + 1), "shorten the description"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_sentence(description: str, sentence: str) -> None:
    with pytest.raises(OptionsInvalid) as caught:
        read_block(description)
    assert sentence in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "line",
    ["efort = quick", "output = /etc", "inputs.half1 = /etc/passwd", "run.overwrite = false", "pretrained = /tmp/evil"],
)
def test_an_unknown_key_or_a_path_is_refused_in_the_words_of_the_schema(line: str) -> None:
    asked = read_block(block("job = map.correct", line))
    spec = {
        "schema": JOB_SCHEMA,
        "kind": asked.kind,
        "inputs": {"half1": "/a.mrc", "half2": "/b.mrc"},
        "output": "/out",
        "options": asked.options,
    }
    with pytest.raises(CryobridgeError) as caught:
        parse_job(spec, "the options in this job's description")
    said = str(caught.value)
    assert line.split(" ")[0].split(".")[0] in said
    assert "\n" not in said


def test_no_kind_takes_a_path_as_an_option() -> None:
    from cryobridge.schemas.describe import describe_kind

    assert [one.key for kind in KINDS for one in describe_kind(JOB_MODELS[kind]).options if one.is_path] == []


def test_comments_remarks_blank_lines_and_other_line_ends_say_nothing() -> None:
    lines = ["job = map.correct", "", "   # a comment", "effort = quick   # as fast as can be", "whiten =   # empty"]
    asked = read_block(block(*lines).replace("\n", "\r\n"))
    assert asked == CardOptions("map.correct", options={"effort": "quick"})


def test_a_description_without_a_block_is_not_ours() -> None:
    assert not has_block("```python\njob = map.correct\n```")
    assert has_block(block("job = map.correct"))
