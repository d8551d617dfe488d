"""How a call to CryoSPARC 5 ended, in our words: it worked, was refused, nothing is known, or nobody is let in."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

pytest.importorskip("cryosparc.errors", reason="cryosparc-tools are not installed (extra 'cryosparc')")

import httpx
import pydantic
from cryosparc.errors import APIError

from cryobridge.schemas.errors import CryobridgeError, InputInvalid
from cryobridge.wrappers.cryosparc.server import NotLoggedIn, ServerRefused, Unreachable
from cryobridge.wrappers.cryosparc.v5.answered import answered
from cryobridge.wrappers.cryosparc.v5.one_try import AnswerLost, OneTry

REQUEST = httpx.Request("POST", "http://host/api/cmd/x")


def api_error(code: int, **content: object) -> APIError:
    return APIError("refused", res=httpx.Response(code, request=REQUEST, **content))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (api_error(400, json={"detail": "J2 is completed"}), ServerRefused),
        (api_error(401, json={"detail": "token expired"}), NotLoggedIn),
        (api_error(403, text="no"), ServerRefused),
        (api_error(404, json={"detail": "no"}), ServerRefused),
        (api_error(409, json={"detail": "there already"}), ServerRefused),
        (api_error(422, json={"detail": {"missing_fields": ["map/path"]}}), ServerRefused),
        (api_error(500, text="<html>" + "x" * 100_000), ServerRefused),
        (api_error(429, text="slow down"), Unreachable),
        (api_error(502, text="<html>bad gateway</html>"), Unreachable),
        (api_error(503, json={"detail": "starting"}), Unreachable),
        (api_error(504, text=""), Unreachable),
        (httpx.ConnectError("refused"), Unreachable),
        (httpx.ReadTimeout(""), Unreachable),
        (httpx.RemoteProtocolError("server disconnected"), Unreachable),
        (httpx.InvalidURL("URL too long"), ServerRefused),
        (httpx.StreamClosed(), Unreachable),
        (AnswerLost("ReadError"), Unreachable),
        (json.JSONDecodeError("Expecting value", "<html>", 0), ServerRefused),
        (TypeError("unexpected keyword"), ServerRefused),
        (AttributeError("no such operation"), ServerRefused),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), ServerRefused),
    ],
)
def test_every_end_of_a_call_has_a_name_and_one_line(error: Exception, becomes: type[CryobridgeError]) -> None:
    with pytest.raises(becomes) as caught, answered("P1-J2: cannot be read"):
        raise error
    said = str(caught.value)
    assert type(caught.value) is becomes
    assert said.startswith("P1-J2: cannot be read: ")
    assert len(said) < 600
    assert "\n" not in said


def test_an_answer_that_is_another_document_is_said_as_a_matter_of_versions() -> None:
    class Document(pydantic.BaseModel):
        number: int

    with (
        pytest.raises(ServerRefused, match="the server and this version of cryosparc-tools do not go together"),
        answered("x"),
    ):
        Document.model_validate({"number": "many"})


def test_the_status_and_the_servers_words_are_kept() -> None:
    with pytest.raises(ServerRefused) as caught, answered("P1-J2: cannot be saved"):
        raise api_error(422, json={"detail": {"missing_fields": ["map/path"]}})
    assert caught.value.status == 422
    assert "map/path" in str(caught.value)


def test_our_own_errors_pass() -> None:
    with pytest.raises(InputInvalid, match="ours"), answered("x"):
        raise InputInvalid("ours")


# ---- one try


def transport(play: Callable[[httpx.Request], httpx.Response]) -> tuple[OneTry, list[str]]:
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        return play(request)

    return OneTry(httpx.MockTransport(handle)), asked


def breaks(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("the connection broke", request=request)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_broken_connection_of_a_write_is_no_error_that_the_client_tries_again_at(method: str) -> None:
    """Trap 5: at a `TransportError` the client sends anything again, from a stream that may be at its end."""
    one, asked = transport(breaks)
    with pytest.raises(AnswerLost) as caught:
        one.handle_request(httpx.Request(method, "http://host/"))
    assert not isinstance(caught.value, httpx.TransportError)
    assert asked == [method]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_reading_is_left_to_the_client(method: str) -> None:
    one, _ = transport(breaks)
    with pytest.raises(httpx.TransportError):
        one.handle_request(httpx.Request(method, "http://host/"))


def test_an_answer_that_breaks_off_in_its_middle_is_lost_too() -> None:
    class Cut(httpx.SyncByteStream):
        def __iter__(self):
            yield b'{"uid": '
            raise httpx.ReadError("broken")

    one, _ = transport(lambda _: httpx.Response(200, stream=Cut()))
    with pytest.raises(AnswerLost):
        one.handle_request(httpx.Request("POST", "http://host/"))
