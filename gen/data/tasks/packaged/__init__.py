"""Named sets in pinned archives of the package index."""
