"""From text to batches: sources -> corpus -> tokenizer -> tokens -> batches."""
