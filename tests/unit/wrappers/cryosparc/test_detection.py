"""Which CryoSPARC is at an address, asked of servers that are none, or lead elsewhere, or cannot be trusted."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.cryosparc import versions
from cryobridge.wrappers.cryosparc.server import ServerRefused, Unreachable
from cryobridge.wrappers.cryosparc.versions import Detected, detect, spoken_to


@contextlib.contextmanager
def web(status: int = 200, body: bytes = b"{}", certificate: Path | None = None, **headers: str) -> Iterator[str]:
    """A server that answers everything so; gives its address."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket, scheme = context.wrap_socket(server.socket, server_side=True), "https"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"{scheme}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_server_that_describes_its_api_is_version_5() -> None:
    with web(body=json.dumps({"openapi": "3.1.0", "paths": {}}).encode()) as url:
        assert detect(url) == Detected(5)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [(404, b"", "HTTP 404"), (200, b"<html>hello</html>", "Expecting value"), (200, b"[]", "is not CryoSPARC's")],
)
def test_what_another_server_says_is_told(status: int, body: bytes, said: str) -> None:
    with web(status, body) as url, pytest.raises(Unreachable) as told:
        detect(url)
    assert said in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_an_address_that_leads_to_another_is_answered_with_that(status: int) -> None:
    with (
        web(status, Location="https://cryosparc.example.org/api/cmd/openapi.json") as url,
        pytest.raises(InputInvalid, match=r"leads to https://cryosparc\.example\.org; give that address"),
    ):
        detect(url)


def test_what_does_not_speak_http_is_told() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def banner() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        threading.Thread(target=banner, daemon=True).start()
        with pytest.raises(Unreachable, match="no HTTP"):
            detect(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=5.0)


def test_the_last_port_of_all_is_an_address_like_any_other() -> None:
    with pytest.raises(Unreachable):
        detect("http://127.0.0.1:65535")


def test_a_server_that_says_nothing_costs_a_bounded_wait() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(Unreachable, match="timed out"):
            detect(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.3)


def test_an_answer_that_comes_in_drops_costs_a_bounded_wait() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                while True:
                    connection.sendall(b" ")
                    time.sleep(0.02)

        threading.Thread(target=drip, daemon=True).start()
        with pytest.raises(Unreachable, match="does not end"):
            detect(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.1)


def test_a_certificate_that_nobody_vouches_for_is_the_reason_that_is_given(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    key = tmp_path / "both.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-days", "2"]
    subprocess.run(
        [openssl, *words, "-keyout", tmp_path / "k", "-out", tmp_path / "c"], check=True, capture_output=True
    )
    key.write_text((tmp_path / "k").read_text() + (tmp_path / "c").read_text())
    with web(certificate=key) as url, pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        detect(url)


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client does not ask it either."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with web(body=b'{"paths": {}}') as url:
        assert detect(url).major == 5


def test_tools_that_are_not_there_are_told_also_where_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "tools_version", lambda: "")
    with pytest.raises(ServerRefused, match=r'pip install "cryosparc-tools~=5\.0\.0"; besides, '):
        spoken_to("http://127.0.0.1:9")
    with (
        web(body=b'{"paths": {}}') as url,
        pytest.raises(ServerRefused, match=r"CryoSPARC 5 answers there, .* not installed"),
    ):
        spoken_to(url)
    monkeypatch.setattr(versions, "tools_version", lambda: "4.7.1")
    with web(body=b'{"paths": {}}') as url, pytest.raises(ServerRefused, match=r"4\.7\.1 cannot speak to it"):
        spoken_to(url)
    with pytest.raises(Unreachable):
        spoken_to("http://127.0.0.1:9")
