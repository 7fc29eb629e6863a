"""Text of Python packages: installed ones, and pinned archives of the package registry."""
