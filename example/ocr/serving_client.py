"""Have the server read pictures which the client draws itself."""

import argparse
import sys

from pictures import sample_pictures

from mindspore_serving.client import Client


def words(lines):
    return sorted(" ".join(lines).split())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--grpc",
        metavar="ADDRESS",
        default="127.0.0.1:5500",
        help="of the gRPC server, ip:port or unix:path (default: %(default)s)",
    )
    arguments = parser.parse_args()
    pictures = sample_pictures()
    with Client(arguments.grpc, "reader", "read") as client:
        results = client.infer([{"image": image} for image, _ in pictures.values()])
    if not isinstance(results, list) or any("error" in result for result in results):
        sys.exit(f"The request failed: {results}")
    for (name, (_, drawn)), result in zip(pictures.items(), results, strict=True):
        lines = result["text"].splitlines()
        print(f"{name}: {len(lines)} lines")
        for line, box, score in zip(lines, result["boxes"], result["scores"], strict=True):
            print(f"  {line}  ({score:.2f}, at {box[0].tolist()})")
        if words(lines) != words(drawn):
            sys.exit(f"{name}: {words(drawn)} was drawn, {words(lines)} was read")
    print("All that was drawn was read")


if __name__ == "__main__":
    main()
