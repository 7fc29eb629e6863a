"""Transformers as three wirings of one block: `families.build(config)` gives the flax module."""
