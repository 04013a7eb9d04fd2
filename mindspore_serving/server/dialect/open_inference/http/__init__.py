"""Open Inference Protocol over HTTP: what is below `/v2`.

`rest` answers requests for inference, `pages` what there is to know. Begin with `rest`.
"""
