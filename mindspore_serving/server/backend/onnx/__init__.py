"""ONNX models on ONNX Runtime. Begin with `backend`, which loads and runs one.

`model_header` reads what a file says before ONNX Runtime does. `settings` has the options, `session` opens a file with
them, and `values` knows the types of inputs and outputs. Nothing of a servable or of a request is known here.
"""
