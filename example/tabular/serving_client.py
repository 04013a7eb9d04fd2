"""Have the server say which grower the held-out wines are from."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "export_model"))

from train_wine import split

from mindspore_serving.client import Client

GROWERS = ("first grower", "second grower", "third grower")
LEAST_ACCURACY = 0.9


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--grpc",
        metavar="ADDRESS",
        default="127.0.0.1:5500",
        help="of the gRPC server, ip:port or unix:path (default: %(default)s)",
    )
    arguments = parser.parse_args()
    _, wines, _, labels = split()
    with Client(arguments.grpc, "wine", "predict") as client:
        results = client.infer([{"measurements": wine} for wine in wines])
    if not isinstance(results, list) or any("error" in result for result in results):
        sys.exit(f"The request failed: {results}")
    for result in results[:3]:
        print(result["grower"], " ".join(f"{probability:.2f}" for probability in result["probabilities"]))
    right = sum(result["grower"] == GROWERS[label] for result, label in zip(results, labels, strict=True))
    print(f"{right} of {len(labels)} right, accuracy {right / len(labels):.3f}")
    if right / len(labels) < LEAST_ACCURACY:
        sys.exit(f"An accuracy of at least {LEAST_ACCURACY} was expected")


if __name__ == "__main__":
    main()
