"""The model as ONNX files: whole clips, and blocks of streams."""
