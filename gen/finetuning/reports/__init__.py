"""The files and the page that a fine-tuning writes."""
