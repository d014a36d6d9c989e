"""The entropy coder: codes into fewer bytes by how often each occurs."""
