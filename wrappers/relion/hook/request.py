"""The call frame: which call, which environment, and which descriptors go with it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from cryobridge.schemas import wire
from cryobridge.schemas.hook_settings import HookSettings
from cryobridge.schemas.messages import PROGRAM, CallFrame, IterationName, SettingsOfHook

from .call import CallInvalidError, Descriptors, Surroundings, open_inputs
from .conversation import HalfWork
from .history import History
from .outputs import OutputFile
from .processes import refinement_program

_NEEDED = ("star", "data_real", "data_imag", "weight")


def travelling_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that the daemon honours, verbatim."""
    return {
        key: value
        for key, value in environment.items()
        if key.startswith(("ISONET_", "CRYOBRIDGE_")) or key == "CUDA_VISIBLE_DEVICES"
    }


def send_call(
    channel: wire.Channel,
    works: dict[int, HalfWork],
    surroundings: Surroundings,
    environment: Mapping[str, str],
    settings_text: str | None,
    settings: HookSettings,
    session_in: str | None,
    session_out: OutputFile | None,
    history: History,
) -> None:
    """Send one call with its descriptors; the hook's copies of the inputs are closed afterwards.

    Raises
    ------
    CallInvalidError
        If an input cannot be opened.
    cryobridge.schemas.wire.WireError
        If the daemon is gone.
    """
    name = next(iter(works.values())).call.name
    descriptors = Descriptors()
    try:
        for half, work in works.items():
            open_inputs(work.call, half, descriptors)
            for part in _NEEDED:
                if f"half{half}.{part}" not in descriptors.names:
                    raise CallInvalidError(f"{_path_of(work, part)} cannot be opened")
            descriptors.lend(f"half{half}.standard", work.standard.fd)
            if work.corrected is not None:
                descriptors.lend(f"half{half}.corrected", work.corrected.fd)
        for key, path in surroundings.paths.items():
            descriptors.open(key, path)
        if session_in is not None:
            descriptors.open("session_in", session_in)
        if session_out is not None:
            descriptors.lend("session_out", session_out.fd)
        history.lend(descriptors)
        program = refinement_program()
        if program is not None:
            descriptors.take(PROGRAM, program)
        frame = CallFrame(
            call_id=f"{name.stem}-{os.urandom(6).hex()}",
            key=IterationName(
                job_dir=name.job_dir,
                root=name.root,
                iteration=name.iteration,
                kind="body" if name.kind == "body" else "class",
                number=name.number,
            ),
            halves=tuple(sorted(works)),
            environment=travelling_environment(environment),
            settings=settings_text,
            hook_settings=SettingsOfHook.of(settings),
            result_names={str(half): work.call.result for half, work in works.items()},
            fd_names=tuple(descriptors.names),
        )
        channel.send(frame.as_message(), descriptors.fds)
    finally:
        descriptors.close()


def _path_of(work: HalfWork, part: str) -> str:
    call = work.call
    return {"star": call.star, "data_real": call.data_real, "data_imag": call.data_imag, "weight": call.weight}[part]
