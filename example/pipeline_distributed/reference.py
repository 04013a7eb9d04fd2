"""The two networks of this example in NumPy: what they compute, and with which weights."""

import numpy as np

ROWS, WIDTH, STATE = 128, 96, 16
STEPS = 10

_random = np.random.RandomState(1)
FULL = _random.uniform(-0.1, 0.1, (WIDTH, STATE)).astype(np.float32)
INCREMENT = _random.uniform(-0.5, 0.5, (STATE, STATE)).astype(np.float32)


def predict(x):
    """The state after the full graph, and after ten runs of the incremental graph."""
    state = np.tanh((x + x) @ FULL)
    last = state
    for _ in range(STEPS):
        last = np.tanh(last @ INCREMENT)
    return state, last
