"""Solvers of the parametric objective: the search for its optimum, and descents to it."""
