"""Export to ONNX: the graph, its resize of pictures, 8-bit quantisation, and the comparison."""
