"""The text of a settings file as plain values: what is read, what is refused, and that nothing in it takes long."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryobridge.schemas import hook_settings, settings_file
from cryobridge.schemas.errors import InputInvalid, SettingsInvalid
from cryobridge.schemas.hook_settings import HookSettings
from cryobridge.schemas.relion import RelionOptions, own_settings, resolve_options

WANTED = HookSettings(keep_volumes=True, deadline_s=90.0)


@pytest.mark.parametrize(
    "text",
    [
        "keep_volumes: true\ndeadline_s: 90\nstart_healpix: 12\n",
        "{keep_volumes: true, deadline_s: 90, start_healpix: 12}",
        "{keep_volumes: yes,\n deadline_s: 90.0,  # so long\n start_healpix: 12}\n",
        '{"keep_volumes": true, "deadline_s": 90, "start_healpix": 12}',
        "---\nkeep_volumes : on\ndeadline_s : 90\nstart_healpix: 12\n...\n",
        "\ufeffkeep_volumes: true\r\ndeadline_s: 90\r\nstart_healpix: 12\r\n",
        "keep_volumes: true\rdeadline_s: 90\rstart_healpix: 12\r",
        "? keep_volumes\n: true\n? deadline_s\n: 90\n? start_healpix\n: 12\n",
        "keep_volumes: &wish true\ndeadline_s: !!int 90\nstart_healpix: 12\n",
        '"keep\\x5fvolumes": 1\ndeadline_s: "90"\nstart_healpix: 12\n',
        "keep_volumes:\n  true\ndeadline_s: 9.0e+1\nstart_healpix:\n 12\n",
        "  keep_volumes: true\n  deadline_s: 90\n  start_healpix: 12\n",
    ],
)
def test_every_way_to_write_the_same_is_read_the_same_by_hook_and_daemon(text: str) -> None:
    assert own_settings(text, {"CRYOBRIDGE_KEEP_VOLUMES": "0"}) == WANTED
    if hook_settings.is_plain(text):
        assert hook_settings.read(text, {}) == WANTED
    options, notes = resolve_options({}, "", text, WANTED)
    assert (options.keep_volumes, options.deadline_s, options.start_healpix) == (True, 90.0, 12)
    assert notes == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("start_healpix: 2001-99-99", "line 1 holds a date (2001-99-99)"),
        ("a: 1\nb: 2001-01-01 10:00:00", "line 2 holds a date"),
        ("start_healpix: " + "9" * 5000, "whole number"),
        ("start_healpix: 0x" + "f" * 20000, "whole number"),
        ("start_healpix: 0b" + "1" * 20000, "whole number"),
        ("start_healpix: 1" + ":59" * 20000, "whole number"),
        ("start_resolution_A: 1.0e+999999", "start_resolution_A"),
        ("start_resolution_A: 1.0e+999", "start_resolution_A"),
        ("start_resolution_A: -.inf", "start_resolution_A"),
        ("deadline_s: 1" + ":59" * 20000, "'deadline_s' is not written as the hook reads it"),
        ("deadline_s: " + "9" * 5000, "'deadline_s' is not written as the hook reads it"),
        ("keep_volumes:", "'keep_volumes' is not written as the hook reads it"),
        ("strict: [true]", "'strict' is not written as the hook reads it"),
        ("{strict: true, strict: true}", "'strict' is not written as the hook reads it; write it once"),
        ("start_healpix: 2\nstart_healpix: 3", "'start_healpix' stands twice, again in line 2; keep one"),
        ("network: {steps: 2, steps: 3}", "'steps' stands twice"),
        ("a: &x 1\nb: *x", "a value refers to another line (*name); write it out"),
        ("a: &x [*x]", "refers to another line"),
        ("<<: {strict: true}", "line 1 begins otherwise"),
        ("1: true", "line 1 begins otherwise"),
        ("[a, b]: true", "line 1 begins otherwise"),
        ("network: {on: true}", "line 1 begins otherwise"),
        ("network: !!set {a, b}", "has a tag"),
        ("style: !!binary aGFsbG8=", "has a tag"),
        ("a: 1\n---\nb: 2", "not YAML"),
        ("a: \x00", "not YAML"),
        ("\tstrict: true", "not YAML"),
        ("{keep_volumes: true,\n\tstrict: true}", "not YAML"),
        ("*" + "x" * 60000, "not YAML"),
        ("[" * 60000, "not YAML"),
        ("{a: " * 15000, "not YAML"),
        ("just words", "should hold 'key: value' lines"),
    ],
)
def test_what_cannot_be_meant_gets_one_short_sentence_at_once(text: str, said: str) -> None:
    began = time.process_time()
    with pytest.raises(SettingsInvalid, match=r"^cryobridge\.yaml") as caught:
        resolve_options({}, "", text, HookSettings())
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert time.process_time() - began < 3


def test_numbers_and_words_are_what_they_look_like() -> None:
    text = "a: 12\nb: -1.5e-3\nc: 0x10\nd: 010\ne: 1_000\nf: 'on'\ng: on\nh: ~\ni: [1, {j: .5}]\nk: .inf\nl: 1e3\n"
    values = settings_file.read(text)
    assert values["a"] == 12
    assert values["b"] == -0.0015
    assert [values[key] for key in "cdel"] == ["0x10", "010", "1_000", "1e3"]
    assert (values["f"], values["g"], values["h"]) == ("on", True, None)
    assert values["i"] == [1, {"j": 0.5}]
    assert values["k"] == float("inf")


def test_no_file_and_an_empty_one_say_nothing() -> None:
    assert settings_file.read(None) == settings_file.read("") == settings_file.read("# nothing\n---\n") == {}


def test_a_hook_that_has_read_something_else_is_not_followed() -> None:
    with pytest.raises(SettingsInvalid, match="'keep_volumes' is not written as the hook reads it"):
        resolve_options({}, "", "{keep_volumes: true}", HookSettings(keep_volumes=False))


# ---- the quick reader against this one

KEY = st.sampled_from(
    [*hook_settings.KEYS, "start_healpix", "network", "style", "strict_", "Strict", "'strict'", '"strict"']
)
VALUE = st.sampled_from(
    ["true", "off", "90", "1.5", "'yes'", '"no"', "{steps: 3}", "[1, 2]", "", "null", "~", "1e3", "010", "1:30", "y"]
) | st.text(st.characters(codec="ascii", exclude_characters="\r"), max_size=6)
GLUE = st.sampled_from([": ", ":", " : ", ":  ", ":\t", ":\n  "])
MARGIN = st.sampled_from(["", "", "", "", "  ", "\t", "- ", "? ", "{", "# "])
ENDING = st.sampled_from(["\n", "\n", "\n", "\r\n", " # why\n", "#\n", ",\n", "}\n", "\n\n", "\u2028", "\x85", "\r"])
LINE = st.builds(lambda *parts: "".join(parts), MARGIN, KEY, GLUE, VALUE, ENDING)
FILE = st.lists(LINE | st.text(max_size=8), max_size=5).map("".join)


@settings(deadline=None, max_examples=400)
@given(FILE)
def test_where_the_quick_reader_is_sure_it_reads_what_the_daemon_reads(text: str) -> None:
    if not hook_settings.is_plain(text):
        return
    try:
        slowly = own_settings(text, {})
    except InputInvalid:
        return  # then the daemon refuses the file, and the hook keeps the volumes
    assert hook_settings.read(text, {}) == slowly


@settings(deadline=None, max_examples=400)
@given(FILE)
def test_any_text_is_read_or_refused_in_one_sentence(text: str) -> None:
    sentence = None
    try:
        chosen = own_settings(text, {})
        options, _ = resolve_options({}, "", text, chosen)
    except SettingsInvalid as error:
        sentence = str(error)
    if sentence is None:
        assert isinstance(options, RelionOptions)
        assert {key: getattr(options, key) for key in hook_settings.KEYS} == vars(chosen)
    else:
        assert sentence.startswith("cryobridge.yaml")
        assert "\n" not in sentence


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n# only a word\n",
        "keep_volumes: true  # please\n",
        "'strict': \"no\"\r\ndeadline_s: 90\r\n",
        "network:\n  steps: 3\n  batch: 2\nstrict: on\n",
        "network: {steps: 3, batch: 2}\nstyle: stock\n",
    ],
)
def test_usual_files_cost_no_parser(text: str) -> None:
    assert hook_settings.is_plain(text)
