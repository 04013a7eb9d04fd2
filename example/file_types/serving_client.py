"""Have the server say what kind of file some bytes are, and check what it says."""

import argparse
import sys

from files import sample_files

from mindspore_serving.client import Client


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--grpc",
        metavar="ADDRESS",
        default="127.0.0.1:5500",
        help="of the gRPC server, ip:port or unix:path (default: %(default)s)",
    )
    arguments = parser.parse_args()
    files = sample_files()
    with Client(arguments.grpc, "filetype", "identify") as client:
        results = client.infer([{"content": content} for content in files.values()])
    if not isinstance(results, list) or any("error" in result for result in results):
        sys.exit(f"The request failed: {results}")
    for (expected, content), result in zip(files.items(), results, strict=True):
        print(
            f"{len(content):5} bytes: {result['label']:<8} {result['media_type']:<20} {result['probability']:.2f}"
        )
        if result["label"] != expected:
            sys.exit(f"{expected} was expected")


if __name__ == "__main__":
    main()
