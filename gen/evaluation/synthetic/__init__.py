"""Synthetic tasks, and training small models on them."""
