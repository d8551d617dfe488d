"""Who the bridge is to CryoSPARC 4: what is missing is named, and nothing secret is shown."""

from __future__ import annotations

import pytest

from cryobridge.wrappers.cryosparc.server import NotLoggedIn
from cryobridge.wrappers.cryosparc.v4.login import (
    license_of_environment,
    login_of,
    no_tokens,
    place_of,
    url_of_environment,
)

LICENSE = "fedcba98-7654-3210-fedc-ba9876543210"
URL = "http://cs.example.org:39000"
VARIABLES = ("CRYOSPARC_LICENSE_ID", "CRYOSPARC_MASTER_HOSTNAME", "CRYOSPARC_BASE_PORT")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotLoggedIn, match="set CRYOSPARC_LICENSE_ID, CRYOSPARC_EMAIL and CRYOSPARC_PASSWORD in"):
        login_of(URL, "", "")
    monkeypatch.setenv("CRYOSPARC_LICENSE_ID", LICENSE)
    with pytest.raises(NotLoggedIn, match=r"no tokens: set CRYOSPARC_PASSWORD in the environment$"):
        login_of(URL, "me@example.org", "")


@pytest.mark.parametrize("wrong", ["not mine", LICENSE[:-1], LICENSE + "0", f"{LICENSE}\nX: y"])
def test_what_is_no_licence_is_not_sent(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYOSPARC_LICENSE_ID", wrong)
    with pytest.raises(NotLoggedIn, match="is no licence ID") as caught:
        login_of(URL, "me@example.org", "secret")
    assert wrong not in str(caught.value)
    assert license_of_environment() == ""


def test_a_licence_is_taken_as_it_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYOSPARC_LICENSE_ID", f" {LICENSE.upper()}\n")
    login = login_of(URL, "me@example.org", "secret")
    assert login.license_id == license_of_environment() == LICENSE
    assert LICENSE not in repr(login)
    assert "secret" not in repr(login)


def test_the_address_comes_from_the_variables_of_cryosparcs_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    assert url_of_environment() is None
    monkeypatch.setenv("CRYOSPARC_LICENSE_ID", LICENSE)
    assert url_of_environment() == "http://localhost:39000"
    monkeypatch.setenv("CRYOSPARC_MASTER_HOSTNAME", "cs.example.org")
    assert url_of_environment() == "http://cs.example.org:39000"
    monkeypatch.setenv("CRYOSPARC_BASE_PORT", "45000")
    assert url_of_environment() == "http://cs.example.org:45000"


@pytest.mark.parametrize(
    ("url", "place"),
    [(URL, ("cs.example.org", 39000)), ("https://cs", ("cs", 39000)), ("http://[::1]:5", ("::1", 5))],
)
def test_services_are_counted_from_the_base_port(url: str, place: tuple[str, int]) -> None:
    assert place_of(url) == place


def test_there_is_nothing_to_log_in_to() -> None:
    text = no_tokens(URL)
    assert "no tokens" in text
    assert all(name in text for name in ("CRYOSPARC_LICENSE_ID", "CRYOSPARC_EMAIL", "CRYOSPARC_PASSWORD"))
