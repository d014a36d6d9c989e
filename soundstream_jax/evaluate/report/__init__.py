"""One page that shows runs: curves, tables, sounds, in a file of its own."""
