"""The common style of figures, and HTML pages as single files."""
