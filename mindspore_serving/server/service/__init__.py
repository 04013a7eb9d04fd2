"""What front ends see of the server: `Service` with the dispatcher and the catalog, health, and texts of errors.

No transport and no process is known here. Begin with `service`; `catalog` says what there is.
"""
