"""Compare sentences, and search some by what they mean."""

import argparse
import http.client
import json
import sys

import numpy as np

from mindspore_serving.client import Client

SENTENCES = ("The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium.")
NOTES = (
    "The invoice must be paid within thirty days.",
    "Reset your password on the account page.",
    "Our office is closed on public holidays.",
    "The battery lasts for about ten hours.",
    "Parcels arrive two to four days after the order.",
)
QUESTIONS = (
    "How do I change my login?",
    "When will my package come?",
    "How long can I use it without charging?",
)


def vectors_of(address, sentences):
    """All sentences in one request: float32 [number of sentences, 384]."""
    with Client(address, "minilm", "embed") as client:
        return np.stack([result["vector"] for result in checked(client.infer(instances(sentences)))])


def instances(sentences):
    return [{"sentence": sentence} for sentence in sentences]


def checked(results):
    if not isinstance(results, list) or any("error" in result for result in results):
        sys.exit(f"The request failed: {results}")
    return results


def similarity_over_rest(address, a, b):
    connection = http.client.HTTPConnection(address)
    body = json.dumps({"instances": [{"a": a, "b": b}]})
    connection.request("POST", "/model/minilm:similarity", body)
    reply = json.loads(connection.getresponse().read())
    connection.close()
    return checked(reply.get("instances", reply))[0]["score"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--grpc",
        metavar="ADDRESS",
        default="127.0.0.1:5500",
        help="of the gRPC server, ip:port or unix:path (default: %(default)s)",
    )
    parser.add_argument(
        "--rest",
        metavar="ADDRESS",
        default="127.0.0.1:1500",
        help="of the REST server, ip:port (default: %(default)s)",
    )
    arguments = parser.parse_args()
    vectors = vectors_of(arguments.grpc, SENTENCES)
    for sentence, scores in zip(SENTENCES, vectors @ vectors.T, strict=True):
        print(" ".join(f"{score:.4f}" for score in scores), sentence)
    over_rest = similarity_over_rest(arguments.rest, SENTENCES[0], SENTENCES[1])
    print(f"REST, the first two: {over_rest:.4f}")
    notes, questions = vectors_of(arguments.grpc, NOTES), vectors_of(arguments.grpc, QUESTIONS)
    for question, scores in zip(QUESTIONS, questions @ notes.T, strict=True):
        best = int(scores.argmax())
        print(f"{question} -> {NOTES[best]} ({scores[best]:.2f})")


if __name__ == "__main__":
    main()
