"""What a start script calls, and the life of the server: plans of workers, start, signals, drain, stop.

The only room that knows all others; it joins them. Begin with `server`.
"""
