"""The edges to foreign programs and file formats. Light: the hook imports it."""
