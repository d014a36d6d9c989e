"""The format `torch`: a module of PyTorch that stands alone, and its weights."""
