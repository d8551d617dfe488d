"""What crosses a border: wire frames, jobs, options, results, configuration. Light: the hook imports it."""
