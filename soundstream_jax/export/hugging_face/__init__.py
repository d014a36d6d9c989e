"""The format `hf`: a SoundStream as an EnCodec of transformers."""
