"""RELION: the hook, the job directory, the standard reconstruction. Light: the hook imports it."""
