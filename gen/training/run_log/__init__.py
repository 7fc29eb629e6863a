"""What a run reports while it trains: rows, the journal, its mirrors, and lines on the terminal."""
