"""The command line: flags, config overrides, signals, and the process environment. Imports no jax."""
