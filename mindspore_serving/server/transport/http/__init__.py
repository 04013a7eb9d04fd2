"""HTTP/1.1: the listening server, its connections, the process that reads large bodies.

No dialect is known here. Begin with `rest_gateway` for the life of the server, with `connection` for the way of a
request: `request_reader` has what arrives, `answering` calls a dialect, `reply_writer` has what clients do not take,
and `life` what a connection waits for. Routes of the user's own are answered in `application_connection`.
"""
