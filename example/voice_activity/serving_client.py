"""Have the server listen to sounds, piece by piece as they would come from a microphone."""

import argparse
import sys

import numpy as np
from sounds import RATE, babble, beep, noise, silence

from mindspore_serving.client import Client

FRAME = 512
STATE = 320
PIECE = 16 * FRAME
"""Samples in a request: about half a second."""
SCENES = (("silence", silence), ("babble", babble), ("noise", noise), ("babble", babble), ("beep", beep))
SCENE_S = 64 * FRAME / RATE
SPEAKS = 0.5
MOST_OF_IT, LITTLE_OF_IT = 0.7, 0.2
"""Share of the frames of `babble` and of the other sounds that should be taken for speech."""
SAME = 1e-3


def listen(client, sound, piece):
    """Probability of speech for each frame; the state of a reply goes with the next request."""
    state, speech = np.zeros(STATE, np.float32), []
    for start in range(0, len(sound), piece):
        (result,) = client.infer({"sound": sound[start : start + piece], "state": state})
        if "error" in result:
            sys.exit(f"The request failed: {result}")
        state = result["state"]
        speech.append(result["speech"])
    return np.concatenate(speech)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--grpc",
        metavar="ADDRESS",
        default="127.0.0.1:5500",
        help="of the gRPC server, ip:port or unix:path (default: %(default)s)",
    )
    arguments = parser.parse_args()
    sound = np.concatenate([make(SCENE_S) for _, make in SCENES])
    with Client(arguments.grpc, "voice", "listen") as client:
        speech = listen(client, sound, PIECE)
        at_once = listen(client, sound, len(sound))
    for (name, _), frames in zip(SCENES, np.split(speech, len(SCENES)), strict=True):
        picture = "".join("#" if value >= SPEAKS else "." for value in frames)
        share = np.mean(frames >= SPEAKS)
        print(f"{name:<8} {picture} {share:4.0%}")
        if share < MOST_OF_IT if name == "babble" else share > LITTLE_OF_IT:
            sys.exit(f"{name}: {share:.0%} was taken for speech")
    apart = np.abs(speech - at_once).max()
    print(f"{len(sound) // PIECE} pieces, or all at once: at most {apart:.4f} apart")
    if apart > SAME:
        sys.exit("The state did not travel with the pieces")


if __name__ == "__main__":
    main()
