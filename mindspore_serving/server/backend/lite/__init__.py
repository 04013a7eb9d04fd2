"""MindSpore Lite as a backend, above `mindspore_serving.lite` or the package `mindspore_lite`. Begin with `backend`."""
