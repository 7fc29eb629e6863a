"""Tasks of solved examples before a question: their items, scores, report and figure."""
