"""Kinds of jobs that nobody ships yet: latents and volumes of particles, and one that wants tomograms."""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from cryobridge.bridge.worker.jobs.context import Context
from cryobridge.bridge.worker.jobs.runner import JobSteps
from cryobridge.bridge.worker.loop import Progress
from cryobridge.schemas import envelope
from cryobridge.schemas.envelope import Inputs, Job, Options
from cryobridge.schemas.half_maps import MaskFile
from cryobridge.schemas.memory import MemoryEstimate, volumes
from cryobridge.schemas.outputs import REPORT, Output
from cryobridge.schemas.paths import Holds, InputFile, InputFiles, RootFolder
from cryobridge.wrappers.formats.cs_table import read_table, table_bytes

LATENTS, TOMOGRAMS = "made.latents", "made.tomograms"
_MODULES = "cryobridge.bridge.worker.kinds"


class LatentsInputs(Inputs):
    """Particles with poses and their images."""

    particles: Annotated[InputFile, Holds("particles", parts=("images", "ctf", "views"))] = Field(description="them")
    project: Annotated[RootFolder, Holds("project")] = Field(description="where their stacks lie")
    mask: MaskFile | None = Field(None, description="a mask")


class LatentsOptions(Options):
    """What a test wants of the result."""

    wrong: Literal["", "stranger", "twice", "nan", "slot", "none", "ids_only"] = Field("", description="what is wrong")


class TomogramInputs(Inputs):
    """What no job of CryoSPARC has."""

    tilt_series: Annotated[InputFiles, Holds("tomogram")] = Field(description="reconstructed volumes")


def _run(job: Job, context: Context) -> JobSteps:
    """Two latents for half of the particles, in another order, and three volumes."""
    path, wrong = job.inputs.particles, job.options.wrong  # type: ignore[attr-defined]
    before = read_table(path)
    stacks = {str(one) for one in before["blob/path"]}
    if not all((job.inputs.project / one).is_file() for one in stacks):  # type: ignore[attr-defined]
        raise AssertionError("the stacks are not in the project's folder")
    yield Progress("read", 0.5)
    uids = before["uid"][::-2].copy()
    if wrong == "stranger":
        uids[1] = 7
    if wrong == "none":
        uids = uids[:0]
    values = np.linspace(-1, 1, len(uids))
    if wrong == "nan":
        values[2] = np.nan
    table = {"uid": uids}
    for mode in range(0 if wrong == "ids_only" else 2):
        table[f"components_mode_{mode}/component"] = np.full(len(uids), mode)
        table[f"components_mode_{mode}/value"] = values * (mode + 1)
    if wrong == "slot":
        table["my_own/number"] = values
    if wrong == "twice":
        table = {name: np.concatenate([found, found]) for name, found in table.items()}
    context.folder.write_data("latents.cs", table_bytes(table))
    for number in (1, 2, 10):
        context.folder.write_map(f"sample_{number}.mrc", torch.full((16, 16, 16), float(number)), 2.0)
    context.folder.write_text(REPORT.pattern, "<html></html>")
    return context.folder.finish(metrics={"latents": 2})


@contextlib.contextmanager
def made_up_heterogeneity() -> Iterator[tuple[type[Job], type[Job]]]:
    """Both kinds, registered for as long as the context lasts, the first with a runner."""

    class LatentsJob(Job):
        """Find latents of particles."""

        outputs: ClassVar[tuple[Output, ...]] = (
            Output("latents.cs", "particles", "particles", "particles with latents"),
            Output("sample_*.mrc", "map", "sample", "a volume along the latents"),
            Output("network.safetensors", "model", "network", "the network", always=False),
            REPORT,
        )

        kind: Literal["made.latents"] = "made.latents"
        inputs: LatentsInputs
        options: LatentsOptions = Field(default_factory=LatentsOptions)

        def own_box(self, device: str) -> int:
            """There is no map to speak of."""
            return 16

        def memory(self, box: int, device: str) -> MemoryEstimate:
            """A volume on either side."""
            return MemoryEstimate(volumes(1, box), volumes(1, box))

    class TomogramsJob(Job):
        """Do something to tomograms."""

        outputs: ClassVar[tuple[Output, ...]] = (Output("a.mrc", "tomogram", "tomogram", "another"), REPORT)

        kind: Literal["made.tomograms"] = "made.tomograms"
        inputs: TomogramInputs

        def memory(self, box: int, device: str) -> MemoryEstimate:
            """A volume on either side."""
            return MemoryEstimate(volumes(1, box), volumes(1, box))

    module = types.ModuleType(f"{_MODULES}.{LATENTS}")
    module.run = _run  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    try:
        yield LatentsJob, TomogramsJob
    finally:
        del envelope.JOB_MODELS[LATENTS], envelope.JOB_MODELS[TOMOGRAMS], sys.modules[module.__name__]
