"""Traces of OpenTelemetry (ADR 65): the only room that names it, and imports it only where traces are asked for.

Begin with `tracing.py`, which is told of calls and has the life of the exporter. `sampling.py` decides which calls are
traced, `call_trace.py` is what dispatch tells of them, `server_span.py` what transports tell, `spans.py` makes spans.
"""
