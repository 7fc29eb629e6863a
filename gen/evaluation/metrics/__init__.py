"""Scores of fine-tuned models, equal to those of the field, with bootstrap intervals."""
