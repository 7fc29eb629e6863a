"""What trained models have learned: word vectors, attention maps."""
