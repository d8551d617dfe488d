"""The four settings of the hook: one reader, whatever stands in the file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryobridge.schemas import hook_settings
from cryobridge.schemas.hook_settings import HookSettings


def test_the_file_wins_over_the_variables_key_by_key() -> None:
    environment = {"CRYOBRIDGE_STRICT": "1", "CRYOBRIDGE_KEEP_VOLUMES": "1", "CRYOBRIDGE_DEADLINE_S": "60"}
    assert hook_settings.read("strict: no\n", environment) == HookSettings(False, True, 60.0)
    assert hook_settings.read("deadline_s: null\n", environment).deadline_s is None
    assert hook_settings.read(None, environment) == HookSettings(True, True, 60.0)


def test_only_keys_at_the_left_margin_are_read_without_quotes_and_comments() -> None:
    text = "network:\n  strict: yes\n'keep_volumes' : \"true\" # why not\nother: 1\n# strict: true\n"
    assert hook_settings.in_file(text) == {}
    assert hook_settings.in_file(text.replace("' :", "':")) == {"keep_volumes": "true"}


def test_a_key_on_two_lines_is_told() -> None:
    assert hook_settings.said_twice("strict: yes\nstrict: no\n'correction': no\n") == {"strict"}


@pytest.mark.parametrize(
    ("word", "value"), [(" Yes ", True), ("1", True), ("OFF", False), ("0", False), ("y", None), ("", None)]
)
def test_a_flag_is_one_of_a_few_words(word: str, value: bool | None) -> None:
    assert hook_settings.flag(word) is value


@pytest.mark.parametrize(
    ("word", "value"), [("90", 90.0), ("1e3", 1000.0), ("0", None), ("-1", None), ("inf", None), ("nan", None)]
)
def test_a_time_is_a_positive_number(word: str, value: float | None) -> None:
    assert hook_settings.seconds(word) == value


@given(st.text(), st.dictionaries(st.sampled_from(sorted(hook_settings.VARIABLES.values())), st.text(max_size=9)))
def test_whatever_stands_there_is_survived(text: str, environment: dict[str, str]) -> None:
    read = hook_settings.read(text, environment)
    assert read.deadline_s is None or read.deadline_s > 0
