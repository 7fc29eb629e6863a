"""Stages that compare all documents before they decide: duplicates, scores, and a budget of size."""
