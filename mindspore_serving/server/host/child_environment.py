"""The environment variables that processes of the server are started with."""

from __future__ import annotations

import os
from collections.abc import Mapping

TOKEN_VARIABLE = "SERVING_CLUSTER_TOKEN"
"""The secret of a cluster, or of the agents of a distributed worker."""


def child_environment(
    *, needs_token: bool = False, environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """What a child gets: all variables of this process but for secrets that it has no use for.

    Args:
        needs_token: Whether the child itself proves that it knows the token of the cluster.
        environment: Variables of this process.
    """
    variables = dict(environment, PYTHONUNBUFFERED="1")
    if not needs_token:
        variables.pop(TOKEN_VARIABLE, None)
    return variables
