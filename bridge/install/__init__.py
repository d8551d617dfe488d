"""The service's files: what this version would write where, whether it stands there, and writing it."""
