"""Transformers as three wirings of one block: `language_model.build_model(config)` gives the flax module."""
