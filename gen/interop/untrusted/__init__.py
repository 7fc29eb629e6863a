"""Files of tokenizers that nobody vouches for: what they may ask, and a trial in a process of its own.

The trial's process imports this package alone, so it needs nothing but the standard library.
"""
