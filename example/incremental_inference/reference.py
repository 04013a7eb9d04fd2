"""The language model of this example in NumPy: what it computes, and with which weights.

A recurrent network over a vocabulary of 32 tokens, without training: it is about how it is served.
"""

import numpy as np

VOCABULARY = 32
WIDTH = 64
PROMPT_LENGTH = 8
STEPS = 10

_random = np.random.RandomState(1)
EMBEDDING = _random.uniform(-1, 1, (VOCABULARY, WIDTH)).astype(np.float32)
RECURRENT = _random.uniform(-0.3, 0.3, (WIDTH, WIDTH)).astype(np.float32)
OUTPUT = _random.uniform(-1, 1, (WIDTH, VOCABULARY)).astype(np.float32)


def step(token, state):
    """One token: the scores of the next one, and the new state."""
    state = np.tanh(EMBEDDING[token] + state @ RECURRENT)
    return state @ OUTPUT, state


def generate(prompt):
    """The tokens that follow a prompt."""
    state = np.zeros(WIDTH, np.float32)
    for token in prompt:
        scores, state = step(token, state)
    tokens = [int(scores.argmax())]
    for _ in range(STEPS):
        scores, state = step(tokens[-1], state)
        tokens.append(int(scores.argmax()))
    return tokens
