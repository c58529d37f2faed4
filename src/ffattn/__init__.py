"""Feed-forward attention for long-term memory problems."""
