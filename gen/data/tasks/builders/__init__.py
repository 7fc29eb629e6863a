"""Examples of each task from records."""
