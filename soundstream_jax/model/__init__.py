"""Audio to codes and back; knows nothing of training."""
