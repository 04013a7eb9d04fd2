"""The languages in which clients ask: each folder has routes, a codec and its texts of errors.

Dialects never import each other, and know no transport beyond its plain routes. Removing one is deleting its folder and
its line in `start`.
"""
