"""What becomes of a card on CryoSPARC 4, whichever answers are lost."""

from __future__ import annotations

import contextlib
import time
import urllib.request
from collections.abc import Iterator

import numpy as np
from support.cryosparc import DirectDaemon, surroundings
from support.cryosparc_v4 import LICENSE
from support.cryosparc_v4_deeds import EMAIL, PASSWORD

from cryobridge.wrappers.cryosparc.card.card_run import CardRun, End
from cryobridge.wrappers.cryosparc.card.claim import Claim, claim
from cryobridge.wrappers.cryosparc.documents import CardId
from cryobridge.wrappers.cryosparc.recipes import InputGroup, Slot
from cryobridge.wrappers.cryosparc.server import ServerRefused, Unreachable
from cryobridge.wrappers.cryosparc.v4.adapter import V4Server

from .v4_bench import Scenario, V4Bench, raises

# ---- a card


def outputs_load_back_and_are_what_the_job_wrote(bench: V4Bench) -> None:
    card = bench.card("map.correct", effort="quick")
    assert bench.run(card) is End.COMPLETED
    assert bench.status(card) == "completed"
    own, before = bench.server.load_output(card, "volume"), bench.server.load_output(CardId("P1", "J1"), "volume")
    assert own["uid"].tolist() == before["uid"].tolist()
    for slot in ("map_half_A", "map_half_B", "mask_refine", "mask_fsc"):
        assert own[f"{slot}/path"].tolist() == before[f"{slot}/path"].tolist()
    assert own["map/path"].tolist() == [f"{card.job}/cryobridge/corrected.mrc"]
    assert (bench.fake.project / str(own["map/path"][0])).is_file()
    assert own["map/psize_A"].dtype == np.float32
    # The files are tables that the client itself reads.
    from cryosparc.dataset import Dataset  # type: ignore[import-not-found, unused-ignore]

    table = Dataset.load(str(bench.fake.project / card.job / f"{card.job}_000_volume.cs"))
    assert table["map/path"].tolist() == own["map/path"].tolist()


def a_card_is_described_whole_when_it_is_made_and_says_nothing_of_tags(bench: V4Bench) -> None:
    card = bench.card()
    description = bench.fake.jobs[card.job]["description"]
    assert "```cryobridge\njob = map.fsc3d\n" in description
    assert "a title that begins with 'go'" in description
    assert " tag " not in description.split("```")[0]
    slots = {one["name"]: one for one in bench.fake.jobs[card.job]["input_slot_groups"][0]["slots"]}
    assert slots["map_half_A"]["type"] == "volume.blob"
    assert slots["mask_refine"]["optional"]


def its_log_has_pictures_with_their_numbers_and_few_lines_of_progress(bench: V4Bench) -> None:
    bench.daemon = DirectDaemon(slices=30)
    card = bench.card()
    assert bench.run(card) is End.COMPLETED
    log = bench.fake.logs[card.job]
    pictures = [one for one in log if one.get("flags") == ["plots"]]
    assert [asset["filetype"] for asset in pictures[0]["imgfiles"]] == ["png", "csv"]
    table = bench.fake.assets[pictures[0]["imgfiles"][1]["fileid"]]
    assert table == (bench.fake.project / card.job / "cryobridge" / "fsc.csv").read_bytes()
    assert len([one for one in log if "at work" in str(one.get("message"))]) <= 1
    assert any("checkpoint" in one for one in log)


def particles_come_through_with_every_column(bench: V4Bench) -> None:
    card = bench.card("particles.to_relion", source="particles")
    there = bench.server.load_output(CardId("P1", "J1"), "particles")
    slots = ["blob", "ctf", "alignments3D"]
    columns = bench.server.load_input(card, "particles", slots)
    assert set(columns) == {one for one in there if one == "uid" or one.partition("/")[0] in slots}
    for name, values in columns.items():
        assert np.array_equal(values, there[name]), name
    assert bench.run(card) is End.COMPLETED, bench.fake.said(card.job)
    assert list((bench.fake.project / card.job / "cryobridge").glob("*.star"))


def particles_are_saved_and_the_rest_passes_through(bench: V4Bench) -> None:
    card = bench.card("particles.to_relion", source="particles")
    bench.server.start(card, "running")
    slots = (Slot("alignments3D", "alignments3D"),)
    for _ in range(2):
        bench.server.add_output(card, "particles", "particle", slots, "Particles", "particles")
    assert bench.server.output_fields(card, "particles") == [
        ("alignments3D/pose", "3f4"),
        ("alignments3D/shift", "2f4"),
    ]
    before = bench.server.load_input(card, "particles", [])
    order = np.arange(len(before["uid"]))[::-1]
    sent = {one: before[one][order] for one in before if one == "uid" or one.startswith("alignments3D/")}
    sent["alignments3D/shift"] = sent["alignments3D/shift"] + np.float32(1)
    bench.server.save_output(card, "particles", sent)
    kept = bench.server.load_output(card, "particles")
    assert kept["blob/path"].tolist() == before["blob/path"][order].tolist()
    assert kept["blob/idx"].tolist() == before["blob/idx"][order].tolist()
    for name, values in sent.items():
        assert np.array_equal(kept[name], values), name
        assert kept[name].dtype == values.dtype


def a_failure_stands_in_the_log_since_the_job_cannot_hold_it(bench: V4Bench) -> None:
    card = bench.card()
    (bench.fake.project / "J1" / "J1_003_volume_map_half_B.mrc").unlink()
    assert bench.run(card) is End.FAILED
    assert bench.status(card) == "failed"
    assert any(one.get("error") and "map_half_B" in one["message"] for one in bench.fake.logs[card.job])


def what_is_not_seen_from_here_is_fetched_and_sent(bench: V4Bench) -> None:
    card = bench.card()
    seen = bench.fake.project
    with _project_directory(bench.server, "/nowhere/at/all"):
        assert bench.run(card) is End.COMPLETED
    path = bench.server.load_output(card, "fsc3d")["map/path"].tolist()
    assert path == [f"{card.job}/FSC3D.mrc"]
    assert (seen / path[0]).stat().st_size > 1000
    assert "upload" in bench.fake.calls


@contextlib.contextmanager
def _project_directory(server: V4Server, folder: str) -> Iterator[None]:
    """As if the project's folder were not there on this machine."""
    server.project_directory = lambda project: folder  # type: ignore[method-assign]
    try:
        yield
    finally:
        del server.project_directory


# ---- connections that break

WRITES = (
    "run_external_job",
    "set_job_status",
    "job_send_streamlog",
    "job_checkpoint_streamlog",
    "add_external_job_output",
    "save_output",
    "upload",
    "asset",
)
"""What a card's work writes; what making one does is in `MAKING`."""
READS = ("get_job", "get_project_dir_abs", "load_input", "download")
MAKING = ("create_external_job", "add_external_job_input", "connect_external_job")


def _work_goes_on(operation: str) -> Scenario:
    def scenario(bench: V4Bench) -> None:
        card = bench.card()
        bench.fake.fault(operation, "before", "after", "before")
        assert bench.run(card) is End.COMPLETED, bench.fake.said(card.job)
        assert bench.status(card) == "completed"
        assert bench.server.load_output(card, "fsc3d")["map/path"].tolist() == [f"{card.job}/cryobridge/FSC3D.mrc"]
        assert len(bench.daemon.jobs) == 1
        names = [one["name"] for one in bench.fake.jobs[card.job]["output_result_groups"]]
        assert len(names) == len(set(names))

    return scenario


def _is_made_once(operation: str) -> Scenario:
    def scenario(bench: V4Bench) -> None:
        bench.fake.fault(operation, "before", "after", "before")
        card = bench.card()
        assert [job for job in bench.fake.jobs if job != "J1"] == [card.job] == ["J2"]
        (group,) = [one for one in bench.fake.jobs["J2"]["input_slot_groups"] if one["name"] == "volume"]
        assert len(group["connections"]) == 1
        assert bench.server.card(card).inputs["volume"].sources[0].job == "J1"

    return scenario


def nothing_that_writes_is_sent_twice_by_the_client(bench: V4Bench) -> None:
    card = bench.card()
    for operation, call in (
        ("job_send_streamlog", lambda: bench.server.log(card, "a line")),
        ("upload", lambda: bench.server.upload(card, "a.bin", b"1234", overwrite=True)),
        ("run_external_job", lambda: bench.server.start(card, "running")),
        ("create_external_job", lambda: bench.server.create("P1", "W1", "", "# card ab12")),
    ):
        for how in ("before", "after"):
            before = bench.fake.calls.count(operation)
            bench.fake.fault(operation, how)
            begun = time.monotonic()
            with raises(Unreachable):
                call()
            assert time.monotonic() - begun < 2.0
            assert bench.fake.calls.count(operation) == before + 1


def an_answer_that_is_cut_off_is_not_taken_for_whole(bench: V4Bench) -> None:
    card = bench.card()
    for operation, call in (
        ("download", lambda: bench.server.download("P1", "J1/particles.mrc", bench.folder / "got")),
        ("load_input", lambda: bench.server.load_input(card, "volume", ["map_half_A"])),
        ("get_job", lambda: bench.server.card(card)),
    ):
        bench.fake.fault(operation, "cut")
        with raises(Unreachable):
            call()
    assert not (bench.folder / "got").exists()


def a_server_that_does_not_answer_is_not_waited_for_long(bench: V4Bench) -> None:
    card = bench.card()
    impatient = bench.another(timeout_s=0.3)
    bench.fake.lock.acquire()
    begun = time.monotonic()
    try:
        with raises(Unreachable, "timed out"):
            impatient.card(card)
    finally:
        bench.fake.lock.release()
    assert time.monotonic() - begun < 1.2


def an_answer_that_never_ends_is_given_up(bench: V4Bench) -> None:
    card = bench.card()
    impatient = bench.another(timeout_s=0.4)
    bench.fake.fault("get_job", "drip")
    begun = time.monotonic()
    with raises(Unreachable, "takes longer than"):
        impatient.card(card)
    assert time.monotonic() - begun < 2.0


def what_was_begun_is_gone_on_with_by_the_next_process(bench: V4Bench) -> None:
    card = bench.card()
    looks = iter([False, False, True])
    assert bench.run(card, stopping=lambda: next(looks, True)) is End.LEFT
    assert bench.status(card) in ("waiting", "running")
    bench.server = bench.another()
    assert bench.run(card) is End.COMPLETED
    assert len(bench.daemon.jobs) <= 1
    assert bench.server.load_output(card, "fsc3d")["map/path"].tolist() == [f"{card.job}/cryobridge/FSC3D.mrc"]


def of_two_agents_one_has_the_card(bench: V4Bench) -> None:
    card = bench.card()
    other = surroundings(bench.another(), DirectDaemon(), bench.folder / "other memory")
    with other.memory.held(card) as held:
        assert held is not None
        first = claim(bench.server, bench.server.card(card), Claim("somebody", "r", "h", "now"), lambda _: False)
        assert first.claim.owner == "somebody"
        assert CardRun(other, held).run() is End.TAKEN
    assert bench.status(card) == "building"


def the_fake_contents_the_unmodified_client(bench: V4Bench) -> None:
    from cryosparc import command  # type: ignore[import-not-found, unused-ignore]
    from cryosparc.tools import CryoSPARC  # type: ignore[import-not-found, unused-ignore]

    command.urlopen, command.MAX_ATTEMPTS = urllib.request.urlopen, 3
    cs = CryoSPARC(license=LICENSE, host="127.0.0.1", base_port=bench.fake.base_port, email=EMAIL, password=PASSWORD)
    job = cs.create_external_job("P1", "W1", title="by the client", desc="")
    job.add_input("volume", "volume", min=1, slots=[{"dtype": "blob", "prefix": "map", "required": True}])
    job.connect("volume", "J1", "volume")
    job.add_output("volume", "volume", slots=[{"dtype": "blob", "prefix": "map"}], passthrough="volume")
    with job.run():
        loaded = job.load_input("volume", ["map"])
        rows = job.alloc_output("volume", loaded)
        for field in ("path", "shape", "psize_A"):
            rows[f"map/{field}"] = loaded[f"map/{field}"]
        job.save_output("volume", rows)
        job.log("a line")
        job.upload("a.txt", b"text")
    assert job.status == "completed"
    assert job.load_output("volume")["map_half_A/path"].tolist() == ["J1/J1_003_volume_map_half_A.mrc"]
    card = CardId("P1", job.uid)
    bench.server = bench.another()
    assert bench.server.load_output(card, "volume")["map/path"].tolist() == loaded["map/path"].tolist()
    assert bench.server.read("P1", f"{job.uid}/a.txt", 3) == b"tex"
    assert bench.server.read("P1", f"{job.uid}/b.txt", 3) is None


def a_refusal_is_told_in_the_servers_words(bench: V4Bench) -> None:
    card = bench.card()
    bench.fake.fault("get_job", 500)
    with raises(ServerRefused, "it went wrong", "500"):
        bench.server.card(card)
    bench.fake.fault("get_job", 503)
    with raises(Unreachable, "it went wrong", "503"):
        bench.server.card(card)
    with raises(ServerRefused, "does not exist"):
        bench.server.card(CardId("P1", "J99"))
    wrong = InputGroup("other", "volume", "", False, (Slot("map", "map"),), ())
    with raises(ServerRefused, "does not know the slots map", "it knows blob"):
        bench.server.add_input(card, wrong)


def settings_of_the_client_that_would_stop_it_do_not(bench: V4Bench) -> None:
    from cryosparc import command  # type: ignore[import-not-found, unused-ignore]

    command.MAX_ATTEMPTS = 1
    assert bench.another().version == "v4.7.1"


LOST_ANSWERS: dict[str, Scenario] = {
    **{f"work_goes_on_after_lost_answers_of_{one}": _work_goes_on(one) for one in (*WRITES, *READS)},
    **{f"a_card_is_made_once_for_all_lost_answers_of_{one}": _is_made_once(one) for one in MAKING},
}
