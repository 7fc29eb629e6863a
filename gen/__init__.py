"""Transformers, the RNN that they replaced, and their compute-optimal scaling laws, in JAX."""

__version__ = "0.1.0"
