"""Using a model: samplers, decoding with a cache, beam search, infilling, and loading what was trained."""
