"""Interchange with the checkpoints of other libraries."""
