"""ONNX files: the graph, the resize in front of it, 8 bits, and the comparison."""
