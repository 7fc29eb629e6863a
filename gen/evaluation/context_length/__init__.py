"""The use that a model makes of its context, against what the context costs."""
