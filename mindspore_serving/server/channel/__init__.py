"""The channel between processes: messages, their frames, and shared memory.

Data and bytes only: who sends them, and over which connection, is the business of the rooms above. No pickle, and no
protobuf. Begin with `messages`, with `frames` for how they become bytes, and with `hints` for how they are checked.
"""
