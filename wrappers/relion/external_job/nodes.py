"""What a finished job gives to RELION's pipeline: `RELION_OUTPUT_NODES.star`, from the types that its kind declares.

RELION 4 and 5 read `rlnPipeLineNodeTypeLabel`, RELION 3.1 the number `rlnPipeLineNodeType`; each passes over the
other's column, so both are written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from cryobridge.schemas.outputs import OutputType
from cryobridge.schemas.result import OutputRecord

from ...formats import star
from .folder import NODES_NAME


class NodeType(NamedTuple):
    """A type of node: its label since RELION 4, and its number in RELION 3.1."""

    label: str
    number: int


NODE_TYPES: Mapping[OutputType, NodeType] = {
    "map": NodeType("DensityMap.mrc", 6),
    "half_map": NodeType("DensityMap.mrc.halfmap", 10),
    "mask": NodeType("Mask3D.mrc", 7),
    "particles": NodeType("ParticleGroupMetadata.star.relion", 3),
    "report": NodeType("LogFile.pdf.relion", 13),
}
"""Of what RELION has a use for. A report is no PDF, but logs are what RELION opens with a viewer of choice."""
_ENDINGS: Mapping[str, str] = {"particles": ".star"}
"""A table of CryoSPARC's is none for RELION."""


def output_nodes(outputs: Mapping[str, OutputRecord], job: str) -> Iterator[tuple[str, NodeType]]:
    """Name, from the project, and type of each node.

    Parameters
    ----------
    outputs
        Of the job's result, by name.
    job
        The job's folder from the project, e.g. `External/job012/`.
    """
    for name, record in outputs.items():
        node = NODE_TYPES.get(record.type) if record.type is not None else None
        if node is not None and name.endswith(_ENDINGS.get(str(record.type), "")):
            yield str(PurePosixPath(job) / name), node


def write_nodes(folder: Path, outputs: Mapping[str, OutputRecord], job: str) -> int:
    """Write the nodes into the job's folder, whole or not at all; return how many. Raises `OSError`."""
    nodes = list(output_nodes(outputs, job))
    if nodes:
        table = {
            "rlnPipeLineNodeName": [name for name, _ in nodes],
            "rlnPipeLineNodeTypeLabel": [node.label for _, node in nodes],
            "rlnPipeLineNodeType": [node.number for _, node in nodes],
        }
        star.write_atomically(folder / NODES_NAME, {"output_nodes": table})
    return len(nodes)
