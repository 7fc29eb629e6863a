"""The weights of a mixture: designed runs, a law of the loss, the weights of least predicted loss, their check."""
