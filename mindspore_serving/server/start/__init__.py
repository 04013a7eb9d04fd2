"""What a start script calls, and the life of the server: plans of workers, start, signals, drain, stop.

The only room that knows all others; it joins them. Begin with `start_functions`, what a script calls. `merging` and
`worker_plans` say which workers are to be started. `server` starts and stops everything, with `monitor` (the process
stays alive) and `orderly_stop` (requests finish) beside it.
"""
