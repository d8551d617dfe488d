"""Files that are not what they were given for, named for what they are by their first bytes.

A list of what users of cryo-EM programs have lying about; what is not in it stays unnamed.
"""

from __future__ import annotations

import struct

_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, such as EMAN2 writes"),
    (b"\x93NUMPY", "a numpy table, such as a CryoSPARC .cs"),
    (b"\x95CSDAT", "a compressed CryoSPARC .cs"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"II*\x00", "a TIFF picture"),
    (b"MM\x00*", "a TIFF picture"),
    (b"PK\x03\x04", "a zip archive, such as a PyTorch network or an .npz"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"IMODV", "a model of IMOD"),
    (b"#LSX", "an image list (.lst) of EMAN2"),
    (b"SIMPLE  =", "a FITS file"),
    (b"\x7fELF", "a program"),
    (b"<!DOCTYPE html", "a web page, perhaps what a server sent in place of the file"),
    (b"<html", "a web page, perhaps what a server sent in place of the file"),
    (b"<?xml", "an XML file"),
    (b"HEADER ", "an atomic model (PDB)"),
    (b"ATOM  ", "an atomic model (PDB)"),
    (b"REMARK ", "an atomic model (PDB)"),
    (b"CRYST1", "an atomic model (PDB)"),
)
_TAR, _TAR_AT = b"ustar", 257
_MAP, _MAP_AT = b"MAP", 208
_LONGEST_TENSOR_HEADER = 100_000_000


def named_for_what_it_is(head: bytes, name: str, wanted: str) -> str | None:
    """One sentence about a file that is not what is wanted; None where its first bytes are nothing known.

    Parameters
    ----------
    head
        Its first bytes; 1024 of them are enough.
    name
        What to call it.
    wanted
        What it was given for, as "a map (MRC)".
    """
    found = kind_of(head)
    return None if found is None else f"{name}: is {found}, not {wanted}; give {wanted}"


def kind_of(head: bytes) -> str | None:
    """What a file is by its first bytes, as "a PDF document"; None where they are nothing known."""
    for start, what in _STARTS:
        if head.startswith(start):
            return what
    if head[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR:
        return "a tar archive"
    if len(head) > 8 and head[8:9] == b"{" and struct.unpack_from("<Q", head)[0] < _LONGEST_TENSOR_HEADER:
        return "a file of tensors (.safetensors), such as a network"
    return _kind_of_text(head)


def is_mrc(head: bytes) -> bool:
    """Whether a file that begins so holds a map or images (MRC)."""
    return head[_MAP_AT : _MAP_AT + len(_MAP)] == _MAP


def _kind_of_text(head: bytes) -> str | None:
    """A table or model in text, told by how its first lines begin."""
    if b"\0" in head:
        return None
    lines = [line.strip() for line in head.splitlines()]
    if head.lstrip().startswith((b"{", b"[")):
        return "a JSON file"
    if any(line.startswith((b"_atom_site.", b"_entry.id")) for line in lines):
        return "an atomic model (mmCIF)"
    if any(line.startswith(b"data_") for line in lines):
        return "a STAR file"
    if any(line.startswith(b"C           PSI   THETA") for line in lines):
        return "a parameter file (.par) of Frealign or cisTEM"
    return None
