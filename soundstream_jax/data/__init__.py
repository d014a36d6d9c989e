"""Prepared datasets on disk to global batches."""
