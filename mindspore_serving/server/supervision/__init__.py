"""Worker processes: how they are started, watched, started again and ended, and where their logs go.

Batches are dispatch's business; only results pass through here, on their way from a worker's connection to its copy.
All time is that of a clock that is passed in, and processes are what a `ChildSource` starts, so tests have neither.

Begin with `worker_life`, the states of a worker and what follows each of its ends, and `supervisor`, which owns all.
"""
