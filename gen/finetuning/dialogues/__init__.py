"""Chat templates, and dialogues as rows."""
