"""Texts compared by training on them at equal FLOPs: adapting to a domain, and what a curation is worth."""
