"""Turn trained weights into the ONNX file that the runtime opens."""
