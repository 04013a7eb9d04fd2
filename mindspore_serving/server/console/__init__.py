"""Pages for people: the status, the console and the description of all dialects, each a folder of its own.

A page is an object with routes, as a dialect is. It reads the service, and can be deleted with its line in `start/`.
"""
