"""The train step, its state and its loop."""
