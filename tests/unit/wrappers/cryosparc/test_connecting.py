"""A server of a version that the tools here cannot speak to: one sentence with both, and the line to install."""

from __future__ import annotations

import pytest

from cryobridge.wrappers.cryosparc import connecting
from cryobridge.wrappers.cryosparc.server import Refused
from cryobridge.wrappers.cryosparc.versions import Detected


@pytest.mark.parametrize(
    ("found", "tools", "sentence"),
    [
        (Detected(4, "v4.7.1"), "5.0.3", 'CryoSPARC v4.7.1; cryosparc-tools 5.0.3 cannot speak to it: pip install "'),
        (Detected(5), "4.7.1", "CryoSPARC 5.0; cryosparc-tools 4.7.1 cannot speak to it"),
        (Detected(5), "", "cryosparc-tools are not installed here"),
        (Detected(4, "v4.6.0"), "", 'pip install "cryosparc-tools~=4.6.0"'),
    ],
)
def test_four_and_five_do_not_go_together(
    monkeypatch: pytest.MonkeyPatch, found: Detected, tools: str, sentence: str
) -> None:
    """C6; neither client is imported before this is known."""
    monkeypatch.setattr(connecting, "detect", lambda *_, **__: found)
    monkeypatch.setattr(connecting, "tools_version", lambda: tools)
    with pytest.raises(Refused) as caught:
        connecting.connected("http://host:39000")
    assert sentence in str(caught.value)
    assert "http://host:39000" in str(caught.value)
    assert "\n" not in str(caught.value)
