"""Whether a sweep's curve is credible: held-out budget, criteria, verdict, rehearsal."""
