"""Decoding: samplers, the compiled loop with its cache, beam search, and infilling."""
