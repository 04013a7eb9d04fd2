"""The access log: a line for each call of a client.

`lines` makes a line of a call, `observer` is told of calls, and `mindspore_serving.line_writer` writes the lines in a
thread.
"""
