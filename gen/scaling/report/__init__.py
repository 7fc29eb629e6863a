"""One HTML page and the figures of a study."""
