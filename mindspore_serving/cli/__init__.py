"""The command line `mindspore-serving`: a module for each verb. Begin with `app`.

A verb says what it does and what to do next, ends with an exit code of `exit_codes`, and with `--json` prints one JSON
document on stdout and nothing else there. What a verb needs is imported when it runs, so that `--help` is quick.
"""
