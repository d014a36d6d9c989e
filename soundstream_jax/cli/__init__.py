"""The command `soundstream`, one module for each of its commands."""
