"""Worker processes: how they are started, watched, started again and ended, and where their logs go.

Batches are dispatch's business. Begin with `supervisor`; the table of a worker's states is in `supervised_worker`.
"""
