"""CryoSPARC 4: three services of JSON-RPC, through `cryosparc-tools` 4.7."""
