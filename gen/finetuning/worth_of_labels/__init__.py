"""What labelled examples are worth: scores against their number, by method, and against the pre-training loss."""
