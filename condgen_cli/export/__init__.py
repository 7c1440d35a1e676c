"""Models in torch as graphs for ONNX Runtime: made, compared, written as plain ONNX."""
