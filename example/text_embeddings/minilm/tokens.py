"""From a sentence to what the model takes."""

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

LONGEST = 256
"""The model was trained with so many tokens; what a sentence has beyond them is cut off."""
STEP = 16
"""Lengths are filled up to a multiple of this: 16 lengths in all, so that most sentences share one."""


def newest_tokenizer():
    """The tokenizer in the newest version folder beside this file."""
    versions = [path for path in Path(__file__).parent.glob("*/tokenizer.json") if path.parent.name.isdigit()]
    tokenizer = Tokenizer.from_file(str(max(versions, key=lambda path: int(path.parent.name))))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    return tokenizer


def ids_and_mask(tokenizer, sentence):
    """Token ids int32 [L], and float32 [L] with 1 for each token and 0 behind them; L is a multiple of 16.

    Raises:
        ValueError: The sentence has no text.
    """
    if not sentence.strip():
        raise ValueError("the sentence has no text")
    tokens = tokenizer.encode(sentence).ids
    length = -(-len(tokens) // STEP) * STEP
    ids, mask = np.zeros(length, np.int32), np.zeros(length, np.float32)
    ids[: len(tokens)] = tokens
    mask[: len(tokens)] = 1
    return ids, mask
