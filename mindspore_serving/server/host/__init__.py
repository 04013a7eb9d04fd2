"""This machine and its processes, as the operating system sees them.

Descriptors, memory, devices, signals, settings from the environment. Nothing of serving is known here, and every module
stands for itself.
"""
