"""The measurements themselves; they run in the process of `worker`, on the card."""
