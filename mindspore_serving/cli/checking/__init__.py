"""What the verb `check` makes of trials.

`places` finds servables and model files, `advice` says what to change and which file is the fastest, `tables` prints.
"""
