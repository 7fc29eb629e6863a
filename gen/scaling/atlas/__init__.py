"""Scaling studies of several families side by side."""
