"""What the verb `init` writes.

`names` finds names that Python can have, `project` puts the files together, and `texts` has what stands in them.
"""
