"""Commands and reports over metrics."""
