"""Whether a table of runs can carry a scaling law."""
