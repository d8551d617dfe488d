"""CryoSPARC 5: one HTTP API, through `cryosparc-tools` 5."""
