"""Checkpoints of a run: folder, metadata and arrays."""
