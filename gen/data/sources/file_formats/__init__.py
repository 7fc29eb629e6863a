"""Documents in files: kind, compression, encoding, and one reader per format."""
