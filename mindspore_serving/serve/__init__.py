"""`python -m mindspore_serving.serve`: the command line of Paddle Serving's server, for those who come from there.

Begin with `options`: what each option means here. `running` starts a server, `process_record` finds it again for the
words `stop` and `kill`.
"""
