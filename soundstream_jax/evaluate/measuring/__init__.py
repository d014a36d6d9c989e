"""Parts of a measurement: clips, the model, other processes, lines on disk."""
