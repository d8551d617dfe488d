"""Passwords and tokens that others could hear on the way are warned of, and only those."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from cryobridge.wrappers.cryosparc.clear_text import heard_by_others

ANOTHER = "192.0.2.7"  # RFC 5737: nobody's


@pytest.mark.parametrize(
    "url",
    ["https://cryosparc.example.org", "http://localhost:39000", "http://127.0.0.1:39000", "http://127.1.2.3"],
)
def test_what_is_encrypted_or_stays_here_is_heard_by_nobody(url: str) -> None:
    assert not heard_by_others(url)


def test_a_name_of_this_machine_is_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_words, **_named: _found("127.0.0.1"))
    assert not heard_by_others("http://gpu07:39000")


def test_another_machine_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert heard_by_others(f"http://{ANOTHER}:39000")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_words, **_named: [*_found("127.0.0.1"), *_found(ANOTHER)])
    assert heard_by_others("http://gpu07:39000")


def test_a_name_that_is_not_known_may_be_any_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_words: object, **_named: object) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert heard_by_others("http://cryosparc")


def _found(address: str) -> list[tuple[Any, ...]]:
    return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (address, 0))]
