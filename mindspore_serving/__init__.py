"""MindSpore Serving: serve MindSpore models over gRPC and REST.

`mindspore_serving.server` starts servables and their frontends, `mindspore_serving.server.register` is what a
`servable_config.py` calls, and `mindspore_serving.client` asks for predictions. Importing the package alone loads
none of them.
"""

__version__ = "0.1.0"
