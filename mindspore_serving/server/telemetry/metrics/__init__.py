"""`GET /metrics`: what was counted, as Prometheus and OpenMetrics read it.

`page` answers, `collector` takes a snapshot apart, `method_metrics` and `server_metrics` have all names, and `aliases`
the names of other servers. Nothing is counted here.
"""
