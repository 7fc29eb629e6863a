"""Reading and writing files: JSON, checksums, locks, output paths. Imports no jax."""
