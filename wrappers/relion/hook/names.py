"""What a RELION file name says about a call: output root, iteration, half, class or body.

Knows names only; opens nothing except to list a job folder.
"""

from __future__ import annotations

import contextlib
import os
import re

from cryobridge.schemas.values import FixedValues

# The root may itself hold "_it", "_half" or dots, so everything is anchored at the end of the name.
# Patterns are compiled where they are first used, since not every call needs all of them.
_CALL = (
    r"(?P<root>.*)_it(?P<iteration>[0-9]{3,})(?:_half(?P<half>[12]))?_(?P<kind>class|body)(?P<number>[0-9]{3,})"
    r"_external_reconstruct\.star"
)
_OPTIMISER = r"(?P<root>.*)_it(?P<iteration>[0-9]{3,})_optimiser\.star"
_CONTINUED = r"_ct[0-9]+\Z"
_COORDINATION = r"\.?it(?P<iteration>[0-9]{3,})_(?:class|body)[0-9]{3,}[._]"


class CallName(FixedValues):
    """One call, as its STAR file is named.

    Attributes
    ----------
    folder
        The job folder as RELION wrote it (relative to the current folder, or absolute); "" is the current one.
    root
        The file stem of `relion_refine --o`, for example "run" or "run_ct5".
    half
        1 or 2; 0 for Class3D and for the joined last iteration.
    """

    folder: str
    root: str
    iteration: int
    half: int
    kind: str
    number: int

    @property
    def stem(self) -> str:
        """File name of the call without ending: run_it010_half1_class001_external_reconstruct."""
        return self.stem_of(self.half)

    def stem_of(self, half: int) -> str:
        """The same call's file name stem, of another half."""
        tag = f"_half{half}" if half else ""
        return f"{self.root}_it{self.iteration:03d}{tag}_{self.kind}{self.number:03d}_external_reconstruct"

    @property
    def pair(self) -> str:
        """What the two halves of an iteration have in common: it010_class001."""
        return f"it{self.iteration:03d}_{self.kind}{self.number:03d}"

    @property
    def label(self) -> str:
        """The call in RELION's log: it010 half1 class001."""
        tag = f" half{self.half}" if self.half else ""
        return f"it{self.iteration:03d}{tag} {self.kind}{self.number:03d}"

    @property
    def job_dir(self) -> str:
        """The job folder, absolute and with links resolved, so that both halves name it alike."""
        return os.path.realpath(self.folder or ".")

    @property
    def bridge_folder(self) -> str:
        """Where the bridge keeps a refinement's session and the two hooks meet: <root>.cryobridge."""
        return self.beside(f"{self.root}.cryobridge")

    def beside(self, file_name: str) -> str:
        """A path in the job folder."""
        return os.path.join(self.folder, file_name)


def parse_call(star: str) -> CallName | None:
    """Read a call from its STAR file name; None when RELION does not name calls like this."""
    folder, base = os.path.split(star)
    match = re.fullmatch(_CALL, base, re.DOTALL)
    if match is None:
        return None
    return CallName(
        folder=folder,
        root=match["root"],
        iteration=int(match["iteration"]),
        half=int(match["half"] or 0),
        kind=match["kind"],
        number=int(match["number"]),
    )


def base_root(root: str) -> str:
    """The root without the `_ctN` that GUIs up to 3.1 add to a continued run."""
    return re.sub(_CONTINUED, "", root)


def optimiser_of(name: CallName, iteration: int) -> str | None:
    """Find `<root>_itNNN_optimiser.star` of an iteration.

    The call's own root comes first. A continued run (`run_ct5`) has its earlier iterations under another
    root of the same family (`run`, `run_ct3`); of those the newest file is taken.

    Returns
    -------
    str or None
        A path as RELION would write it, or None when there is no such file.
    """
    own = name.beside(f"{name.root}_it{iteration:03d}_optimiser.star")
    if os.path.exists(own):
        return own
    family = base_root(name.root)
    found: list[tuple[float, str]] = []
    with contextlib.suppress(OSError), os.scandir(name.folder or ".") as entries:
        for entry in entries:
            match = re.fullmatch(_OPTIMISER, entry.name, re.DOTALL)
            if match and int(match["iteration"]) == iteration and base_root(match["root"]) == family:
                with contextlib.suppress(OSError):
                    found.append((entry.stat().st_mtime, entry.name))
    return name.beside(max(found)[1]) if found else None


def stale_coordination_files(name: CallName, entries: list[str]) -> list[str]:
    """Of the files in the bridge folder, those that other iterations left there, and half-written networks.

    Such a network of this very iteration is that of a hook which works on it, or was killed before RELION called again.
    """
    stale = []
    for entry in entries:
        match = re.match(_COORDINATION, entry)
        network = entry.startswith(f".{name.pair}.session.cryobridge-")
        if match and (network or int(match["iteration"]) != name.iteration):
            stale.append(entry)
    return stale


def is_leftover(name: CallName, entry: str) -> bool:
    """Whether a file of the job folder is a temporary file of a hook for the same half and class.

    RELION runs one hook at a time for a half and class, so such a file belongs to one that was killed, or whose
    RELION was; `processes.is_abandoned` tells these two apart.
    """
    if not entry.startswith(".") or ".cryobridge-" not in entry:
        return False
    found = parse_call(entry[1:].partition(".cryobridge-")[0] + ".star")
    return found is not None and (found.root, found.half, found.kind, found.number) == (
        name.root,
        name.half,
        name.kind,
        name.number,
    )
