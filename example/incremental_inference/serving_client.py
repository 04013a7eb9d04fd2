"""Let the server continue prompts over gRPC, and compare with the model in NumPy."""

import argparse

import numpy as np
import reference

from mindspore_serving.client import Client

PROMPTS = [np.arange(start, start + reference.PROMPT_LENGTH, dtype=np.int32) for start in (0, 7, 20)]


def run(address, method):
    """All prompts in one request."""
    with Client(address, "language_model", method) as client:
        results = client.infer([{"prompt": prompt} for prompt in PROMPTS])
    assert isinstance(results, list), f"the request failed: {results}"
    for prompt, result in zip(PROMPTS, results, strict=True):
        assert "tokens" in result, f"an instance failed: {result}"
        expected = reference.generate(prompt)
        assert result["tokens"].tolist() == expected, f"{result['tokens']} instead of {expected}"
        print(f"{method}: {prompt.tolist()} goes on with {result['tokens'].tolist()}, right")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--grpc",
        metavar="ADDRESS",
        default="127.0.0.1:5500",
        help="of the gRPC server, ip:port or unix:path (default: %(default)s)",
    )
    arguments = parser.parse_args()
    run(arguments.grpc, "generate")
    run(arguments.grpc, "generate_in_pipeline")


if __name__ == "__main__":
    main()
