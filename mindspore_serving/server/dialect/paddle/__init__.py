"""What clients of Paddle Serving speak: GeneralModelService, and the services of pipelines, over HTTP and gRPC.

Begin with `dialect` for what is answered where. `general_model` has the way of a request with tensors, `pipeline` that
of one with keys and values. `elements` says what the types of elements are called, `tensors` what a tensor must be.
"""
