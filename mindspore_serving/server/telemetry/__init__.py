"""Telemetry: metrics, the access log and traces, each a folder of its own.

They read what dispatch has counted (`service/server_statistics.py`) and what transports tell of calls
(`transport/observers.py`). Nothing is counted here, and nothing below knows of this room.
"""
