"""Loads models and servables in a process of its own, and says what they are. Begin with `jobs`.

A library that crashes takes its process with it, a model keeps its memory, and MindSpore changes the process that
imports it: so nothing is loaded in the process of the verb. `process` starts the other one and reads what it found,
`child` runs in it, `servable` does the work there with `model`, `timing` and `stage_clock`.
"""
