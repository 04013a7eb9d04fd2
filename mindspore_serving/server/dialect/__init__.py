"""The languages in which clients ask: each folder has routes, a codec and its texts of errors.

Dialects never import each other. They know the service, and of the transports routes as data only. Removing one is
deleting its folder and its line in `start/dialects.py`. Begin with `native/dialect.py`.
"""
