"""The science: pure functions of tensors, no files, no globals, any device."""
