"""What every line under a figure has to be."""

from __future__ import annotations

from cryobridge.bridge.worker.report.readings import Reading


def is_read(line: Reading, words: str, *, warns: bool) -> None:
    """Fail if a reading lacks words, warns otherwise than it should, or reads like a number."""
    assert words in line
    assert line.warns is warns
    assert line[0].isupper() or line.startswith("cFAR") or line[0].isdigit()
    assert line.endswith(".")
    assert "nan" not in line.split()
    assert "inf" not in line.split()
