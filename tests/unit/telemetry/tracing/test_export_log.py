"""What OpenTelemetry logs becomes a line now and then."""

from __future__ import annotations

import logging

from mindspore_serving.server.telemetry.tracing.export_log import SAY_EVERY_S, ExportLog


def test_a_line_is_written_now_and_then_and_others_are_counted() -> None:
    now, lines = [100.0], []
    export_log = ExportLog(lambda: now[0], lambda text, *values: lines.append(text % values))
    logger = logging.getLogger("opentelemetry.exporter.tested")
    export_log.open()
    try:
        logger.info("all is well")
        logger.error("Failed to export %s", "spans")
        now[0] += SAY_EVERY_S - 1
        logger.error("Failed again")
        logger.warning("Queue full")
        now[0] += 1
        logger.error("x" * 1000)
    finally:
        export_log.close_up()
    logger.error("nobody hears this")
    assert lines == [
        "Traces: Failed to export spans",
        f"Traces: {'x' * 500} ... (500 more characters) (2 more lines since the last one)",
    ]
