"""Files and folders: what every part of `gen` shares when it reads or writes them. Imports no jax."""
