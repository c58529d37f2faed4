"""Lightning callbacks: checkpoints, signals, progress and figures."""
