"""How the examples of a task become rows, losses and predictions, one form a file."""
