"""Tables of particles between RELION and CryoSPARC: poses, shifts, CTF, optics groups, half-sets."""
