"""Paddle models on Paddle Inference. Begin with `backend`, which loads and runs one.

`model_files` finds the files of a model, `decrypted` opens encrypted ones. `program` and `parameters` read them first,
because Paddle crashes on damaged ones. `settings` has the options, `given_names` reads the names of Paddle Serving, and
`library` imports Paddle. Nothing of a servable or of a request is known here.
"""
