"""Tables of tomograms, their tilt angles, and points drawn in them: files of IsoNet, RELION 5, IMOD, Warp, AreTomo."""
