"""Examples in the prompt beside fine-tuning on them."""
