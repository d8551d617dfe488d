"""A CryoSPARC 4 for tests: answers what the unmodified client 4.7.1 sends, on three ports, over the sample project.

Written from what the client sends and what its source says of documents; it is not CryoSPARC, and a pass here is not a
pass there. It needs the client's `Dataset`, so it runs where the client 4.7.1 is installed.

Assumed: statuses of refusals and their words; that a job has a folder from the start (`has_folders`), a project can be
listed (`can_list`); numbers of jobs that go up; names of saved tables; that a missing job or file is a refusal.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from .cryosparc_v4_deeds import V4Deeds, V4RefusalError, sample_document

LICENSE = "01234567-89ab-cdef-0123-456789abcdef"
SERVICES = {"core": 2, "vis": 3, "rtp": 5}


class FakeV4:
    """A server over a project folder, which is the sample's, or like it."""

    def __init__(self, project: Path, *, version: str = "v4.7.1", has_folders: bool = True, can_list: bool = True):
        self.project, self.version = project, version
        self.has_folders, self.can_list = has_folders, can_list
        self.jobs: dict[str, dict[str, Any]] = {"J1": sample_document(project / "J1" / "job.json")}
        self.logs: dict[str, list[dict[str, Any]]] = {}
        self.calls: list[str] = []
        self.assets: dict[str, bytes] = {}
        self._faults: dict[str, list[dict[str, Any]]] = {}
        self.lock = threading.RLock()
        self._servers: list[ThreadingHTTPServer] = []
        self.base_port = self._serve()
        self.url = f"http://127.0.0.1:{self.base_port}"

    def close(self) -> None:
        """End it."""
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def fault(self, operation: str, *how: str | int) -> None:
        """Have the next calls of an operation fail, each in its way: "before", "after", "cut", "drip", or a status."""
        self._faults.setdefault(operation, []).extend({"how": one} for one in how)

    def kill(self, job: str) -> None:
        """As a user does."""
        self.jobs[job]["status"] = "killed"

    def clear(self, job: str) -> None:
        """As a user does."""
        self.jobs[job] |= {"status": "building", "output_result_groups": [], "output_results": []}

    def said(self, job: str) -> str:
        """All text of a job's log."""
        return "\n".join(str(one.get("message", "")) for one in self.logs.get(job, []))

    def take_fault(self, operation: str) -> str | int | None:
        """What is to go wrong with this call."""
        with self.lock:
            self.calls.append(operation)
            waiting = self._faults.get(operation)
            return waiting.pop(0)["how"] if waiting else None

    def _serve(self) -> int:
        for base in range(39100, 60000, 10):
            made: list[ThreadingHTTPServer] = []
            try:
                for service, offset in SERVICES.items():
                    handler = type("Handler", (_Handler,), {"fake": self, "service": service})
                    made.append(_QuietServer(("127.0.0.1", base + offset), handler))
                _none_listens(base)
            except OSError:
                for server in made:
                    server.server_close()
                continue
            self._servers = made
            for server in made:
                threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
            return base
        raise OSError("no ports")


def _none_listens(port: int) -> None:
    """The web port is not served: it must be nobody's."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))


# ---- HTTP


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients that hang up are what is tried here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeV4
    service: str

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_POST(self) -> None:
        """Whatever is asked."""
        body = b"".join(self._body())
        if self.headers.get("License-ID") != LICENSE:
            self._answer(401, b'"wrong license"', "application/json")
            return
        operation, call = self._operation(body)
        fault = self.fake.take_fault(operation)
        if fault == "before":
            self._hang_up()
            return
        if isinstance(fault, int):
            self._answer(fault, b'"it went wrong"', "application/json")
            return
        with self.fake.lock:
            try:
                content, kind = call()
                status = 200
            except V4RefusalError as error:
                status, content, kind = self._refused(error)
            except Exception as error:  # noqa: BLE001 - as a server does
                status, content, kind = self._refused(V4RefusalError(500, f"{type(error).__name__}: {error}"))
        if fault == "after":
            self._hang_up()
            return
        if fault == "drip":
            self._drip()
            return
        self._answer(status, content, kind, cut=fault == "cut")

    def _refused(self, error: V4RefusalError) -> tuple[int, bytes, str]:
        if self.path == "/api":
            told = {"name": "ServerError", "code": error.status, "message": str(error), "data": error.data}
            return 200, json.dumps({"jsonrpc": "2.0", "id": "1", "error": told}).encode(), "application/json"
        return error.status, json.dumps({"message": str(error)}).encode(), "application/json"

    def _operation(self, body: bytes) -> tuple[str, Any]:
        deeds = V4Deeds(self.fake)
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        place = [unquote(one) for one in parts.path.strip("/").split("/")]
        if place == ["api"]:
            asked = json.loads(body)
            return asked["method"], lambda: self._called(deeds, asked)
        if place == ["load_job_input"]:
            return "load_input", lambda: (deeds.load_input(**json.loads(body)), "application/x-cryosparc-dataset")
        if place == ["get_project_file"]:
            return "download", lambda: (self._file(json.loads(body)["path"]), "application/octet-stream")
        if place[0] == "projects" and place[2:] == ["files"]:
            return "upload", lambda: self._uploaded(query, body)
        if place[0] == "projects" and place[2] == "jobs" and place[4:] == ["files"]:
            return "asset", lambda: self._asset(query, body)
        if place[:2] == ["external", "projects"]:
            return "save_output", lambda: (deeds.save(place[4], place[6], body) or b"OK", "text/plain")
        return "nothing", lambda: (b"", "text/plain")

    def _called(self, deeds: V4Deeds, asked: dict[str, Any]) -> tuple[bytes, str]:
        params = asked["params"]
        if asked["method"] == "system.describe":
            result: Any = {"procs": [{"name": name} for name in deeds.names(self.service)]}
        else:
            deed = getattr(deeds, f"{self.service}_{asked['method']}", None)
            if deed is None:
                raise V4RefusalError(-32601, f"Method not found: {asked['method']}")
            result = deed(**params) if isinstance(params, dict) else deed(*params)
        return json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}).encode(), "application/json"

    def _file(self, path: str) -> bytes:
        found = self.fake.project / path
        if not found.is_file():
            raise V4RefusalError(500, f"{path} is not there")
        return found.read_bytes()

    def _uploaded(self, query: dict[str, str], body: bytes) -> tuple[bytes, str]:
        target = self.fake.project / query["path"]
        if target.exists() and "overwrite" not in query:
            raise V4RefusalError(400, f"{target.name} is there already")
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(body)
        return b"OK", "text/plain"

    def _asset(self, query: dict[str, str], body: bytes) -> tuple[bytes, str]:
        number = f"{len(self.fake.assets):024x}"
        self.fake.assets[number] = body
        told = {"fileid": number, "filename": query["filename"], "filetype": query["format"]}
        return json.dumps(told).encode(), "application/json"

    def _body(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().strip() or b"0", 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        yield self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, content: bytes, kind: str, cut: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        content = content[: len(content) // 2] if cut else content
        if kind == "application/x-cryosparc-dataset":
            # Streams have no length.
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(content), content) + (b"" if cut else b"0\r\n\r\n"))
        else:
            self.send_header("Content-Length", str(len(content) * (2 if cut else 1)))
            self.end_headers()
            self.wfile.write(content)
        if cut:
            self._hang_up()

    def _drip(self) -> None:
        """Send a byte now and then, for seconds."""
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        for _ in range(60):
            self.wfile.write(b" ")
            self.wfile.flush()
            time.sleep(0.05)
        self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
