"""(reference, output) to numbers; pure functions."""
