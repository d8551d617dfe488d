"""A call of RELION in the worker: standard map, whether a correction is due, the correction, what stays warm."""
