"""Start scripts whose calls may be refused: what each call came to, as the script tells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tests.support.serving import START_TIMEOUT_S, running_script
from tests.support.watch import leftovers

# For a start script: each `attempt` prints one line: null, or why the call was refused.
ATTEMPT = """\
import json


def attempt(call):
    try:
        call()
    except Exception as error:
        kind = "RuntimeError" if isinstance(error, RuntimeError) else type(error).__name__
        print("attempt", json.dumps([kind, str(error)]), flush=True)
    else:
        print("attempt", "null", flush=True)


"""


def outcomes(
    folder: Path,
    imports: str,
    calls: Mapping[str, str],
    *,
    last: str = "",
    environment: Mapping[str, str] | None = None,
) -> dict[str, tuple[str, str] | None]:
    """Run a script that makes the calls one after another; it must end by itself and leave nothing behind.

    Args:
        folder: Where it runs.
        imports: Its first lines.
        calls: Source of each call.
        last: Its last lines.
        environment: Variables to add.

    Returns:
        Class and text of the error of each call; None for success.
    """
    script = folder / "attempts.py"
    body = "".join(f"attempt(lambda: {source})\n" for source in calls.values())
    script.write_text(f"{ATTEMPT}{imports}\n{body}{last}")
    with running_script(script, environment={"SERVING_BACKEND": "stub", **(environment or {})}) as running:
        assert running.wait(START_TIMEOUT_S) == 0, running.output
        assert leftovers(running) == []
    found = [json.loads(line[8:]) for line in running.lines if line.startswith("attempt ")]
    assert len(found) == len(calls), running.output
    return {name: error and (error[0], error[1]) for name, error in zip(calls, found, strict=True)}
