"""Labelled data of fine-tuning: examples, readers of formats, splits, and named sets."""
