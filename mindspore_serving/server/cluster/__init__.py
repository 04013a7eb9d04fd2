"""Workers on other machines: the port of the master, and the workers' way to it.

Clients and model files are not known here: batches come in and results go out. Begin with `master_port` for the master,
with `member` for a worker; `listening_port` and `link` are for distributed servables too.
"""
