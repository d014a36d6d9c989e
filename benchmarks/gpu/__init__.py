"""Ten minutes of a rented GPU: what to measure, in which order, kept as it comes."""
