"""What the verb `status` shows of a running server: asked once, or again and again.

`source` asks, `tables` draws, `screen` does both until the user ends it. Documents stay what JSON makes of them: the
server may be another release, which says more or less.
"""
