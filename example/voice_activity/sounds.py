"""Sounds to listen to, made here: the same at every call. None is a recording of a voice."""

import numpy as np
from scipy.signal import lfilter

RATE = 16_000
"""Samples in a second."""
VOWELS = {"a": (800, 1200, 2500), "i": (300, 2300, 3000), "u": (330, 800, 2300), "e": (500, 1900, 2600)}
"""The first three resonances of a mouth that says it, in Hz."""


def silence(seconds):
    """Faint noise, as a quiet room has."""
    return np.random.default_rng(1).normal(0, 1e-4, int(seconds * RATE)).astype(np.float32)


def noise(seconds):
    """Loud noise, as of a waterfall."""
    return np.random.default_rng(2).normal(0, 0.1, int(seconds * RATE)).astype(np.float32)


def beep(seconds):
    """A pure tone of 1000 Hz."""
    return (0.3 * np.sin(2 * np.pi * 1000 * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def babble(seconds):
    """Vowels of a made-up voice, syllable by syllable: pulses of about 120 Hz through the resonances of a mouth."""
    pitches = (120, 135, 115, 125, 140, 118, 110, 128)
    syllables = [syllable(vowel, pitch) for vowel, pitch in zip("aiueaeui", pitches, strict=True)]
    return np.resize(np.concatenate(syllables), int(seconds * RATE)).astype(np.float32)


def syllable(vowel, pitch):
    """A quarter of a second; the pitch falls, and the voice swells and fades."""
    time = np.arange(RATE // 4) / RATE
    phase = np.cumsum(pitch * (1.1 - 0.8 * time)) / RATE
    pulses = np.diff(np.floor(phase), prepend=0)
    breath = np.random.default_rng(3).normal(0, 0.01, len(time))
    sound = pulses + breath
    for frequency in VOWELS[vowel]:
        radius = np.exp(-np.pi * 80 / RATE)
        angle = 2 * np.pi * frequency / RATE
        sound = lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], sound)
    return 0.3 * sound / np.abs(sound).max() * np.sin(np.pi * time * 4) ** 0.5
