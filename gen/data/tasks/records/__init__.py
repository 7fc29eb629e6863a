"""Readers of the formats of labelled data, one a file."""
