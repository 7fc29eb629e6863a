"""The law L(N, D), its cost model, and the optimum it implies for a budget."""
