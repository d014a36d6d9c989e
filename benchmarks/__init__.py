"""How fast the project is, against PyTorch and against the machine's limit."""
