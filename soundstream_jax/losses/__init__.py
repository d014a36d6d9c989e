"""(target, prediction) to scalars."""
