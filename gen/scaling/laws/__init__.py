"""Scaling laws as pure functions of arrays: the three approaches, their solvers, draws and warnings."""
