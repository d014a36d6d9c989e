"""The same model and training step in plain PyTorch, to measure against.

What a careful PyTorch programmer writes: channels first, strided, transposed
and grouped convolutions as torch has them, eager mode, one backward pass per
network. `parameters` copies ours into it, so that both can be shown to compute
the same function before they are timed.
"""
