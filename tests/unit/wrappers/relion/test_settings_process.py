"""The reader of settings files that are not plain lines, as the hook runs it."""

import pytest

from cryobridge.wrappers.relion.hook import settings


@pytest.mark.parametrize("text", ["{keep_volumes: true, strict: true}", "? keep_volumes\n: true\nstrict: yes\n"])
def test_a_process_reads_what_lines_do_not_show(text):
    found = settings.read_surely(text, {"CRYOBRIDGE_DEADLINE_S": "90"})
    assert (found.keep_volumes, found.strict, found.correction, found.deadline_s) == (True, True, True, 90.0)
    assert found.mistake is None


def test_a_plain_file_is_read_alike_by_lines_and_by_a_process():
    text = "keep_volumes: false\nstart_healpix: 4\n"
    assert settings.read_by_process(text, {}) == settings.read_surely(text, {})


def test_a_mistake_is_told_in_the_schemas_words_and_the_volumes_are_kept():
    found = settings.read_surely("{start_healpix: soon}", {})
    assert "start_healpix" in (found.mistake or "")
    assert found.keep_volumes
    assert not found.correction
