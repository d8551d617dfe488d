"""The whole way through CryoSPARC with real processes: a command that runs a job, and a card that an agent runs.

`CRYOBRIDGE_TRANSCRIPT` names a folder for the page and the pictures of docs/; `CRYOBRIDGE_WALK_PAIR` a pair of the
shared data, `halfmaps_real_tiny/emp10499_70s_box32` where it is not set.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.cryosparc import EMAIL, PASSWORD, Standin
from support.cryosparc_project import put_pair
from support.cryosparc_station import Station
from support.cryosparc_transcript import Transcript, card_as_shown, pictures_of

from cryobridge.wrappers.cryosparc.documents import CardId
from cryobridge.wrappers.formats import mrc

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.shared]

PAIR = os.environ.get("CRYOBRIDGE_WALK_PAIR", "halfmaps_real_tiny/emp10499_70s_box32")
TRANSCRIPT = os.environ.get("CRYOBRIDGE_TRANSCRIPT", "")
WHERE = ("--project", "P1", "--workspace", "W1")
WHAT = ("--job", "map.correct", "--set", "effort=quick")
TAG = "cryobridge"


@pytest.fixture
def station(shared: Path, private_runtime: Any, tmp_path: Path) -> Iterator[Station]:
    """A daemon beside a stand-in whose J1 is the refinement of real half-maps."""
    standin = Standin(shared, tmp_path / "server")
    pair = shared / "data" / PAIR
    mask = pair / "mask.mrc.gz"
    put_pair(standin.project(), pair / "half1.mrc.gz", pair / "half2.mrc.gz", mask if mask.exists() else None)
    made = Station(standin, tmp_path / "station")
    yield made
    made.end()
    standin.close()


@pytest.mark.timeout(1500)
def test_a_refinement_is_corrected_by_command_and_by_card(station: Station, private_runtime: Any) -> None:
    standin, project = station.standin, station.standin.project()
    home = private_runtime.folder
    told = Transcript(
        {
            standin.url: "http://cryosparc.example.org:39000",
            str(project): "/data/CS-project",
            f"{home}/config": "~/.config",
            f"{home}/run": "/run/user/1000",
            f"by cryobridge on {socket.gethostname()}": "by cryobridge on gpu1",
        }
    )
    told.chapter("Once", "A token for fourteen days, and the daemon:")
    told.typed(f"cryobridge cryosparc login --email {EMAIL}", station.log_in())
    station.start_daemon()
    told.words("Is all as it should be? The last check makes a card, tries all that a card needs, and ends it:")
    told.typed("cryobridge cryosparc doctor --project P1 --workspace W1", station.run("cryosparc", "doctor", *WHERE))

    told.chapter("By a command", f"J1 is a refinement whose half-maps are `{PAIR}`.")
    arguments = ["cryosparc", "run", *WHERE, "--volume", "J1", *WHAT]
    told.typed(f"cryobridge {' '.join(arguments)}", station.run(*arguments))
    by_command = CardId("P1", "J3")
    told.words("The card in CryoSPARC, event by event:")
    told.seen(card_as_shown(standin, by_command))
    told.words("Its description, which says what was asked for:")
    told.seen(standin.job(by_command).description)

    told.chapter("By a card", "The operator's agent runs all the time. Anybody makes a card:")
    station.start_agent()
    arguments = ["cryosparc", "card", *WHERE, *WHAT]
    told.typed(f"cryobridge {' '.join(arguments)}", station.run(*arguments))
    by_card = CardId("P1", "J4")
    client = _client(standin)
    told.words(f"A user drags J1's volume onto the card's input, and gives the card the tag '{TAG}':")
    client.find_external_job("P1", by_card.job).connect("volume", "J1", "volume")
    tag = client.api.tags.create(type="job", title=TAG)
    client.api.jobs.add_tag("P1", by_card.job, tag.uid)
    station.wait(lambda: standin.job(by_card).status in ("completed", "failed"), "the card does not end")
    told.seen(station.agent_log.read_text())
    told.seen(card_as_shown(standin, by_card))

    told.chapter("What is there then")
    for card in (by_command, by_card):
        assert standin.job(card).status == "completed", standin.said(card)
        told.seen(_checked_outputs(client, card, project, standin))

    told.chapter("A job that goes on from the result")
    told.seen(_child(client, by_card))
    _write(told, station, by_command)


def _client(standin: Standin) -> Any:
    from cryosparc.tools import CryoSPARC

    return CryoSPARC(standin.url, email=EMAIL, password=PASSWORD)


def _checked_outputs(client: Any, card: CardId, project: Path, standin: Standin) -> str:
    """Load every output through the client; each volume must be what the daemon wrote, each raw one J1's own."""
    before = client.find_job("P1", "J1").load_output("volume")
    lines = []
    for output in standin.job(card).spec.outputs.root:
        row = client.find_job(card.project, card.job).load_output(output)
        lines.append(f"{card.job}:{output}")
        for slot in row.prefixes():
            path = str(row[f"{slot}/path"][0])
            _, values = client.find_project("P1").download_mrc(path)
            on_disk, ours = mrc.read(project / path)
            assert np.array_equal(values, on_disk)
            assert tuple(row[f"{slot}/shape"][0]) == on_disk.shape
            assert row[f"{slot}/psize_A"][0] == np.float32(ours.voxel_size_A[0])
            passed = not path.startswith(f"{card.job}/")
            if passed:
                assert path == before[f"{slot}/path"][0]
            lines.append(f"    {slot:14s} {path}" + ("  (J1's own)" if passed else ""))
    assert {"volume", "volume_corrected_halves", "fsc3d"} <= set(standin.job(card).spec.outputs.root)
    return "\n".join(lines)


def _child(client: Any, card: CardId) -> str:
    """What a refinement and a validation take: a map to begin with, raw half-maps, a mask."""
    child = client.find_project("P1").create_external_job("W1", title="what a refinement takes")
    named = [{"name": name, "dtype": "blob"} for name in ("map", "map_half_A", "map_half_B", "mask_fsc")]
    child.connect("volume", card.job, "volume", slots=named)
    child.refresh()
    assert not child.model.build_errors
    row = child.load_input("volume")
    assert str(row["map/path"][0]).startswith(f"{card.job}/")
    assert str(row["map_half_A/path"][0]).startswith("J1/")
    return "\n".join(f"{child.uid}:volume.{slot}  {row[f'{slot}/path'][0]}" for slot in row.prefixes())


def _write(told: Transcript, station: Station, card: CardId) -> None:
    if not TRANSCRIPT:
        return
    folder = Path(TRANSCRIPT)
    folder.mkdir(parents=True, exist_ok=True)
    told.write(
        folder / "cryosparc-transcript.md",
        "A refinement corrected by a command and by a card",
        "Written by `tests/acceptance/test_cryosparc_walk.py` (with `CRYOBRIDGE_TRANSCRIPT` set): a real daemon, a "
        "real agent, the client from PyPI, and in place of CryoSPARC the stand-in that the tests use. Times are left "
        "out. [cryosparc.md](cryosparc.md) tells what each step is for.",
    )
    pictures = folder / "pictures"
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir()
    for name, png in pictures_of(station.standin, card).items():
        (pictures / name).write_bytes(png)
