"""Prepared datasets on disk, and the batches that are made of them."""
