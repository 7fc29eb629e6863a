"""Passes of a curation over shards of text, in worker processes, and what they count."""
