"""Which CryoSPARC is at an address: hostile addresses, servers that answer anything, and every pair of versions."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.cryosparc import versions
from cryobridge.wrappers.cryosparc.server import Unreachable
from cryobridge.wrappers.cryosparc.versions import checked_url, detect, mismatch, pip_line

Play = Callable[[BaseHTTPRequestHandler], None]


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("http://cryosparc.example.org:39000", "http://cryosparc.example.org:39000"),
        ("cryosparc.example.org:39000", "http://cryosparc.example.org:39000"),
        ("https://Cryosparc.Example.org/", "https://cryosparc.example.org"),
        ("http://host:39000/browse/P3-W1-J42?x=1#y", "http://host:39000"),
        (" http://host ", "http://host"),
        ("http://127.0.0.1:39000", "http://127.0.0.1:39000"),
        ("http://[::1]:39000/", "http://[::1]:39000"),
        ("[fe80::1]:39000", "http://[fe80::1]:39000"),
        ("localhost", "http://localhost"),
    ],
)
def test_an_address_is_taken_as_it_is_typed(typed: str, url: str) -> None:
    assert checked_url(typed) == url


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "http://",
        "ftp://host",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://host:port",
        "http://host:99999",
        "http://host:-1",
        "http://host:0",
        "http://[::1",
        "http://[zz]:1",
        "http://a b",
        "http://host\x00",
        "http://ho\nst$",
        "x" * 5000,
    ],
)
def test_what_is_no_address_is_one_sentence(typed: str) -> None:
    with pytest.raises(InputInvalid, match="write it as in") as caught:
        checked_url(typed)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("typed", ["http://me:s3cret@host:39000", "me:s3cret@host", "http://me:s3cret@host:99999"])
def test_a_password_in_an_address_is_refused_and_not_repeated(typed: str) -> None:
    with pytest.raises(InputInvalid) as caught:
        checked_url(typed)
    assert "s3cret" not in str(caught.value)


@given(st.text(max_size=40) | st.text("htps:/[]@.%:0123456789ab", max_size=40))
def test_any_text_is_an_address_or_a_sentence(typed: str) -> None:
    with contextlib.suppress(InputInvalid):
        assert checked_url(checked_url(typed)) == checked_url(typed)


# ---- versions


@pytest.mark.parametrize("server", ["v5.0.3", "5.0.0", "v5.0.3+240101", "v5.1.0", "v4.7.1", "v4.6.0", "", "junk"])
@pytest.mark.parametrize("tools", ["5.0.3", "5.0.0", "5.1.2", "4.7.1", ""])
def test_every_pair_of_versions_goes_together_or_is_a_sentence_with_both(server: str, tools: str) -> None:
    """C6: one sentence that names both, and what to install."""
    said = mismatch(server, tools)
    parts = server.lstrip("v").split(".")[:2], tools.split(".")[:2]
    if not tools:
        assert said is not None
        assert "not installed" in said
    elif len(parts[0]) < 2 or parts[0] == parts[1]:
        assert said is None
    else:
        assert said is not None
        assert server in said
        assert tools in said
        assert f"cryosparc-tools~={'.'.join(parts[0])}.0" in said


def test_a_server_of_no_known_version_gets_the_line_of_the_version_we_know() -> None:
    assert pip_line("junk") == 'pip install "cryosparc-tools~=5.0.0"'
    assert pip_line("v4.7.1-cuda12") == 'pip install "cryosparc-tools~=4.7.0"'


# ---- what answers


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Servers that answer as they are told, on a port whose second next one is theirs too if they are to be a 4."""
    running: list[ThreadingHTTPServer] = []

    def start(play: Play, port: int = 0) -> str:
        class Played(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with contextlib.suppress(OSError):
                    play(self)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", port), Played)
        server.daemon_threads = True
        running.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for one in running:
        one.shutdown()
        one.server_close()


def answering(body: bytes, code: int = 200) -> Play:
    def play(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return play


def raw(content: bytes) -> Play:
    def play(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(content)
        request.close_connection = True

    return play


def test_four_answers_beside_its_address_with_its_version(serve: Callable[..., str]) -> None:
    for _ in range(20):
        url = serve(answering(b"<html>", 404))
        with contextlib.suppress(OSError):
            serve(answering(json.dumps({"result": "v4.7.1"}).encode()), int(url.rpartition(":")[2]) + 2)
            break
    found = detect(url)
    assert (found.major, found.version) == (4, "v4.7.1")


@pytest.mark.parametrize(
    "play",
    [
        answering(b""),
        answering(b"<html>a login page</html>"),
        answering(b"[]"),
        answering(b"null"),
        answering(b'{"detail": "Not Found"}', 404),
        answering(b"\xff\xfe\x00"),
        answering(b"[" * 200_000),
        answering(b'{"paths": {}', 200),
        answering(b"busy", 503),
        raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"),
        raw(b"HTTP/1.1 abc\r\n\r\n"),
        raw(b""),
    ],
)
def test_garbage_is_no_cryosparc_and_is_said_in_time(serve: Callable[..., str], play: Play) -> None:
    url, begun = serve(play), time.monotonic()
    with pytest.raises(Unreachable, match="no CryoSPARC answers there") as caught:
        detect(url, timeout_s=0.3)
    assert time.monotonic() - begun < 5
    assert url in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_answer_that_does_not_end_is_left(serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "_MAX_BYTES", 100_000)
    with pytest.raises(Unreachable):
        detect(serve(answering(b" " * 1_000_000)))


@pytest.mark.parametrize("answer", [{"result": None}, {"result": {"x": 1}}, {"result": "no version"}, ["v4.7.1"], 4])
def test_another_json_rpc_server_is_no_cryosparc(serve: Callable[..., str], answer: object) -> None:
    for _ in range(20):
        url = serve(answering(b"", 404))
        with contextlib.suppress(OSError):
            serve(answering(json.dumps(answer).encode()), int(url.rpartition(":")[2]) + 2)
            break
    with pytest.raises(Unreachable, match="is not CryoSPARC's"):
        detect(url)


def test_nobody_at_the_address_is_a_sentence() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}", "http://127.0.0.1:65534", "http://[::1]:1"):
        with pytest.raises(Unreachable, match="give the address that you open in the browser"):
            detect(url, timeout_s=1.0)
