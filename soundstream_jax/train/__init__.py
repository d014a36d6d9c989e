"""Training: the step, its state, the loop around it, and how it resumes."""
