"""HTTP/1.1: the listening server, its connections, the process that reads large bodies. Begin with `rest_gateway`."""
