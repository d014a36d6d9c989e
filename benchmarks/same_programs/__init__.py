"""Whether two checkouts compute the same programs, in one environment."""
