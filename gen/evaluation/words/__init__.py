"""Word vectors: training, analogies, figures."""
