"""A trained network: its checkpoint, its scores, and its predictions on tensors, files and streams; exports."""
