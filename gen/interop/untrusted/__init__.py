"""Untrusted tokenizer files: limits, and a trial in a separate process.

The trial process imports only this package, which depends on the standard library alone.
"""
