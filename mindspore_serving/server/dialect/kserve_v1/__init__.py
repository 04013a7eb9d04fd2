"""The REST interface of TensorFlow Serving, which KServe calls its V1 protocol: `POST /v1/models/M:predict` and more.

A model is a servable, a signature one of its methods, a row an instance. Begin with `dialect` for what is answered
where, with `predict` for the way of a request, with `request_body` and `reply_body` for its two forms.
"""
