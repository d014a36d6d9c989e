"""Make prepared datasets on disk; never imported by training."""
