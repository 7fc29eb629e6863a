"""Architectures of the Hugging Face format: names, layouts and configs of their tensors."""
