"""The executable that RELION calls. Standard library and `schemas.wire` only."""
