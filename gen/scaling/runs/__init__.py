"""Runs of a study as arrays: tables in the forms that people have, their columns, units and counting conventions."""
