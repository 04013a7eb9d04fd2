"""The channel between processes: messages, their frames, and shared memory.

Begin with `messages`, and with `frames` for how they become bytes.
"""
