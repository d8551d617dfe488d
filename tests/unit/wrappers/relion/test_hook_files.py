"""The hook's view of maps, temporary files, settings and decisions."""

import errno
import os
import struct
import threading
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryobridge.wrappers.relion.hook import outputs, settings
from cryobridge.wrappers.relion.hook.call import TooLargeError, read_text, read_whole_text
from cryobridge.wrappers.relion.hook.daemon import daemon_environment
from cryobridge.wrappers.relion.hook.mapcheck import MapError, check_map, checksum
from cryobridge.wrappers.relion.hook.outputs import OutputFile, is_full
from cryobridge.wrappers.relion.hook.runlog import say
from cryobridge.wrappers.relion.hook.verdict import decide, is_ticket

SHAPE = (4, 4, 4)


def map_bytes(values, minimum=-1.0, rms=1.0):
    header = bytearray(1024)
    struct.pack_into("<4i", header, 0, *reversed(values.shape), 2)
    struct.pack_into("<3f", header, 76, minimum, 1.0, 0.0)
    struct.pack_into("<f", header, 216, rms)
    return bytes(header) + values.astype("<f4").tobytes()


@pytest.fixture
def as_fd(tmp_path):
    fds = []

    def make(data):
        (tmp_path / "map.mrc").write_bytes(data)
        fds.append(os.open(tmp_path / "map.mrc", os.O_RDONLY))
        return fds[-1]

    yield make
    for fd in fds:
        os.close(fd)


def test_a_whole_map_passes_with_its_facts(as_fd):
    data = map_bytes(np.random.default_rng(1).standard_normal(SHAPE), rms=0.5)
    fd = as_fd(data)
    facts = check_map(fd, SHAPE, size=len(data), crc32=zlib.crc32(data))
    assert (facts.size, facts.crc32, facts.rms) == (len(data), zlib.crc32(data), 0.5)
    assert checksum(fd) == zlib.crc32(data)


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("where", [0, 17, 63])
def test_one_value_that_is_not_finite_is_found_wherever_it_is(as_fd, bad, where):
    values = np.zeros(64)
    values[where] = bad
    with pytest.raises(MapError, match="not finite"):
        check_map(as_fd(map_bytes(values.reshape(SHAPE))), SHAPE)


@given(st.lists(st.floats(width=32, min_value=-(2.0**126), max_value=2.0**126), min_size=8, max_size=8))
def test_finite_values_always_pass(values):
    output = OutputFile.in_memory(0)
    os.pwrite(output.fd, map_bytes(np.array(values).reshape(2, 2, 2)), 0)
    check_map(output.fd, (2, 2, 2))
    output.discard()


def test_a_value_cut_by_the_reads_chunk_is_still_checked(as_fd, monkeypatch):
    """A network file system may return fewer bytes than asked for, ending inside a number."""
    values = np.zeros(SHAPE)
    values[0, 0, 2] = np.nan
    fd = as_fd(map_bytes(values))
    whole = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, n, at: whole(fd, n if at == 0 else min(n, 7), at))
    with pytest.raises(MapError, match="not finite"):
        check_map(fd, SHAPE)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "0 bytes"),
        (b"\0" * 1023, "1023 bytes"),
        (map_bytes(np.zeros((2, 4, 4))), "4 x 4 x 2"),
        (map_bytes(np.zeros(SHAPE))[:-4], "header asks for"),
        (map_bytes(np.zeros(SHAPE)) + b"\0", "header asks for"),
        (map_bytes(np.zeros(SHAPE), minimum=float("nan")), "statistics"),
        (map_bytes(np.zeros(SHAPE), minimum=2.0), "statistics"),
    ],
)
def test_what_is_not_the_map_is_refused_with_the_reason(as_fd, data, word):
    with pytest.raises(MapError, match=word):
        check_map(as_fd(data), SHAPE)


def test_announced_size_and_checksum_must_match(as_fd):
    data = map_bytes(np.zeros(SHAPE))
    with pytest.raises(MapError, match="announced"):
        check_map(as_fd(data), SHAPE, size=len(data) + 1)
    with pytest.raises(MapError, match="checksum"):
        check_map(as_fd(data), SHAPE, crc32=1)


def test_an_output_appears_whole_under_its_final_name(tmp_path):
    result = tmp_path / "result.mrc"
    result.write_bytes(b"older")
    output = OutputFile.on_disk(str(tmp_path), "result.x.mrc", 100)
    assert os.fstat(output.fd).st_size == 100
    os.pwrite(output.fd, b"new", 0)
    assert result.read_bytes() == b"older"
    output.place(str(result))
    assert result.read_bytes()[:3] == b"new"
    output.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["result.mrc"]


def test_an_output_in_memory_is_copied_whole(tmp_path):
    data = os.urandom(9_000_000)
    output = OutputFile.in_memory(len(data))
    os.pwrite(output.fd, data, 0)
    output.place(str(tmp_path / "result.mrc"))
    assert (tmp_path / "result.mrc").read_bytes() == data
    output.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["result.mrc"]


def test_without_room_nothing_is_left_behind(tmp_path, monkeypatch):
    def full(fd, offset, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space") as caught:
        OutputFile.on_disk(str(tmp_path), "x.mrc", 100)
    assert is_full(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_cannot_reserve_still_serves(tmp_path, monkeypatch):
    def unsupported(fd, offset, size):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unsupported)
    output = OutputFile.on_disk(str(tmp_path), "x.mrc", 100)
    assert os.fstat(output.fd).st_size == 100
    output.discard()


def test_room_that_comes_late_is_waited_for(tmp_path, monkeypatch):
    output = OutputFile.in_memory(10)
    attempts = []
    original = outputs.OutputFile.on_disk.__func__

    def reluctant(cls, folder, name, size):
        attempts.append(name)
        if len(attempts) < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(cls, folder, name, size)

    monkeypatch.setattr(outputs.OutputFile, "on_disk", classmethod(reluctant))
    output.place_patiently(str(tmp_path / "result.mrc"), 5.0)
    assert (tmp_path / "result.mrc").stat().st_size == 10
    output.discard()


def test_the_first_decision_binds_everyone(tmp_path):
    path = str(tmp_path / "verdict")
    assert decide(path, "corrected") == "corrected"
    assert decide(path, "standard") == "corrected"


def test_without_symbolic_links_the_first_decision_binds_too(tmp_path, monkeypatch):
    def refused(target, path):
        if os.path.exists(path):
            raise FileExistsError(errno.EEXIST, "File exists")
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", refused)
    path = str(tmp_path / "verdict")
    assert decide(path, "standard") == "standard"
    assert decide(path, "corrected") == "standard"
    assert [entry.name for entry in tmp_path.iterdir()] == ["verdict"]


def test_racing_deciders_all_obey_one_choice(tmp_path):
    for attempt in range(20):
        path = str(tmp_path / f"verdict{attempt}")
        taken = []
        gate = threading.Barrier(4)

        def propose(choice, path=path, taken=taken, gate=gate):
            gate.wait()
            taken.append(decide(path, choice))

        threads = [threading.Thread(target=propose, args=(choice,)) for choice in ("corrected", "standard") * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(taken) == 4
        assert len(set(taken)) == 1


@pytest.mark.parametrize(
    ("ticket", "good"), [("ab-12", True), ("../x", False), ("", False), (3, False), ("a" * 65, False)]
)
def test_only_harmless_tickets_become_file_names(ticket, good):
    assert is_ticket(ticket) is good


def test_settings_come_from_the_file_then_from_variables():
    text = "strict: yes  # my wish\n'keep_volumes': \"true\"\nnetwork:\n  strict: no\ndeadline_s: 90\n"
    read = settings.read(text, {"CRYOBRIDGE_STRICT": "0", "CRYOBRIDGE_CORRECTION": "off"})
    assert read == settings.Settings(
        strict=True, keep_volumes=True, deadline_s=90.0, correction=False, silence_s=settings.Settings().silence_s
    )
    assert settings.read(None, {}) == settings.Settings()


@pytest.mark.parametrize(
    "text", ["deadline_s: soon", "deadline_s: -1", "deadline_s: nan", "deadline_s: null", "deadline_s:"]
)
def test_a_deadline_that_is_no_time_is_none(text):
    assert settings.read(text, {}).deadline_s is None


@given(st.text())
def test_any_settings_file_is_survived(text):
    assert isinstance(settings.read(text, {}), settings.Settings)


def test_a_file_is_read_whole_or_not_at_all(tmp_path):
    path = tmp_path / "cryobridge.yaml"
    path.write_text("x" * 100)
    assert read_whole_text(str(path), 100) == "x" * 100
    assert read_text(str(path), 99) == "x" * 99
    with pytest.raises(TooLargeError, match="larger than 99 bytes"):
        read_whole_text(str(path), 99)


def test_a_daemon_started_by_a_rank_does_not_inherit_the_ranks_limits():
    environment = {
        "OMP_NUM_THREADS": "1",
        "OMPI_COMM_WORLD_RANK": "1",
        "PMIX_RANK": "1",
        "PMI_RANK": "1",
        "MKL_NUM_THREADS": "1",
        "CRYOBRIDGE_SOCKET": "/x",
        "CUDA_VISIBLE_DEVICES": "1",
        "PATH": "/bin",
    }
    assert daemon_environment(environment) == {"CUDA_VISIBLE_DEVICES": "1", "PATH": "/bin"}


def test_log_lines_are_single_lines(capfd):
    say("a\nb\x1b[31m", "it010")
    assert capfd.readouterr().out == "cryobridge: a b [31m [it010]\n"
