"""What rounding to few bits after training costs: the measurements of a study, and their law."""
