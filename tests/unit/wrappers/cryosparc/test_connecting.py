"""Which version is spoken: by what answers, and by the tools that are installed here."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator

import pytest

from cryobridge.wrappers.cryosparc import connecting, versions
from cryobridge.wrappers.cryosparc.server import ServerRefused, Unreachable
from cryobridge.wrappers.cryosparc.versions import Detected

URL = "http://cs.example.org:39000"


@pytest.mark.parametrize(
    ("found", "tools", "words"),
    [
        (Detected(4, "v4.6.2"), "5.0.3", ["CryoSPARC v4.6.2", "5.0.3 cannot speak", '"cryosparc-tools~=4.6.0"']),
        (Detected(4), "5.0.3", ["CryoSPARC 4", '"cryosparc-tools~=4.7.0"']),
        (Detected(5), "4.7.1", ["CryoSPARC 5", "4.7.1 cannot speak", '"cryosparc-tools~=5.0.0"']),
        (Detected(4), "", ["not installed here", '"cryosparc-tools~=4.7.0"']),
    ],
)
def test_what_does_not_go_together_is_one_sentence(
    found: Detected, tools: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (connecting, versions):
        monkeypatch.setattr(module, "detect", lambda *_: found, raising=False)
        monkeypatch.setattr(module, "tools_version", lambda: tools, raising=False)
    with pytest.raises(ServerRefused) as caught:
        connecting.connected(URL)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)


def test_only_version_4_has_no_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "detect", lambda *_: Detected(5))
    connecting.check_has_tokens(URL)
    monkeypatch.setattr(connecting, "detect", lambda *_: Detected(4))
    with pytest.raises(ServerRefused, match="no tokens"):
        connecting.check_has_tokens(URL)


Answering = Callable[[int, object], str]


@pytest.fixture
def answering() -> Iterator[Answering]:
    """Makes a service that answers one thing; the address whose service of version 4 it would be."""
    made = []

    def make(status: int, answer: object) -> str:
        class Service(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Service)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        made.append(server)
        return f"http://127.0.0.1:{server.server_address[1] - versions_offset}"

    versions_offset = 2
    yield make
    for server in made:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "answer", "version"),
    [
        (200, {"jsonrpc": "2.0", "result": "v4.7.1"}, "v4.7.1"),
        (200, {"jsonrpc": "2.0", "error": {"code": 401, "message": "no license"}}, ""),
        (401, "no license", ""),
        (403, "no license", ""),
    ],
)
def test_one_that_does_not_let_us_in_is_known_all_the_same(
    status: int, answer: object, version: str, answering: Answering
) -> None:
    assert versions.detect(answering(status, answer)) == Detected(4, version)


@pytest.mark.parametrize(("status", "answer"), [(404, "nothing"), (200, ["a list"]), (200, {"hello": 1})])
def test_another_service_is_none(status: int, answer: object, answering: Answering) -> None:
    with pytest.raises(Unreachable, match="no CryoSPARC answers there"):
        versions.detect(answering(status, answer))
