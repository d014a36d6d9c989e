"""Convolutions: what one is (spec), a signal, and one method per device."""
