"""The laboratory: from a question to an honest figure."""
