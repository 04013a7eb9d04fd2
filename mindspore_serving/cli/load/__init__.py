"""Load for a server: when requests are sent, over what, and what became of them. Begin with `loops`.

`connections` and `grpc_calls` send bytes that are ready, `reply_check` looks at replies, `tally` counts, `histogram`
has the latencies, `run` puts it all together, `report` and `plot` show it. The verb `bench` and the benchmarks of this
project use it.
"""
