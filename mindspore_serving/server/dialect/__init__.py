"""The languages in which clients ask: each folder has routes, a codec and its texts of errors.

Dialects never import each other. They know the service, and of the transports routes as data only. Removing one is
deleting its folder and its line in `start/dialects.py`. Begin with `native/dialect.py`.

A handler asks the dispatcher in this order. Two calls are needed:

    destination = dispatcher.resolve(servable, method, version)    # 0 for the newest version
    reply = await dispatcher.admit(destination, blocks, timeout_s) # all checks are made here; gives Rows and FailedRows

`blocks` are `Rows`, in the order of `destination.method.input_names`. The rest spares work, or is for large requests:

- `check_room(destination)` before a body is read: a client that will be refused is refused at once.
- `with dispatcher.reading(destination) as admission:` keeps a place while a large body is read; `admission.admit` then
  admits it. `HttpRequest.read` reads a body, and a large one in a process of its own.
- `with dispatcher.writing(destination):` where a long reply is written in parts: a stop waits for it.
"""
