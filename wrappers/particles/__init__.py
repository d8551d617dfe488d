"""Tables of particles between RELION and CryoSPARC: poses, shifts, CTF, optics groups, half-sets."""

UID_LABEL = "cryosparcUid"
"""Column of a STAR file with CryoSPARC's ids of the particles. RELION does not know it, says so, and keeps it through
selections and refinements, so that particles that come back are known again."""
