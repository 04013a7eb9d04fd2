"""The verb `serve`: from a path or a file of settings to a server that runs.

`config` is what may be set, as data, and the only place where it is written. `config_file` reads it from YAML, `schema`
describes it for editors. `run` serves it with the functions that a start script calls, `progress` and `summary` are
what the user sees, `sample_request` the request that is printed, `reloading` what `--dev` does.
"""
