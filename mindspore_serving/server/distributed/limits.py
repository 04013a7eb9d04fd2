"""How long parts of a distributed servable wait for each other."""

from __future__ import annotations

import os
from collections.abc import Mapping

from mindspore_serving.server.host.settings import seconds_from

DEFAULT_ANSWER_S = 10.0
ANSWER_VARIABLE = "SERVING_AGENT_TIMEOUT_S"


def agent_answer_s(environment: Mapping[str, str] = os.environ) -> float:
    """Seconds within which every rank must have run a batch.

    Args:
        environment: Where SERVING_AGENT_TIMEOUT_S may be set; 10 where it is not.

    Raises:
        InvalidParameter: It is no number, or below 0.1.
    """
    return seconds_from(ANSWER_VARIABLE, DEFAULT_ANSWER_S, 0.1, environment)
