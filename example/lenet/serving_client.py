"""Have the server recognise held-out digits, over gRPC, over gRPC without waiting, and over REST."""

import argparse
import base64
import http.client
import json
import sys

from digits import held_out_set

from mindspore_serving.client import Client

LEAST_ACCURACY = 0.9
IMAGES_PER_REQUEST = 40


def predict(address, images):
    """All images in one request."""
    with Client(address, "lenet", "predict") as client:
        return labels_of(client.infer([{"image": image} for image in images]))


def predict_async(address, images):
    """Many requests under way at the same time."""
    with Client(address, "lenet", "predict") as client:
        calls = [
            client.infer_async([{"image": image} for image in images[start : start + IMAGES_PER_REQUEST]])
            for start in range(0, len(images), IMAGES_PER_REQUEST)
        ]
        return [label for call in calls for label in labels_of(call.result())]


def predict_over_rest(address, images):
    """JSON carries bytes in base64."""
    instances = [{"image": {"b64": base64.b64encode(image).decode()}} for image in images]
    connection = http.client.HTTPConnection(address)
    connection.request("POST", "/model/lenet:predict", json.dumps({"instances": instances}))
    reply = json.loads(connection.getresponse().read())
    connection.close()
    return labels_of(reply.get("instances", reply))


def labels_of(results):
    if not isinstance(results, list):
        sys.exit(f"The request failed: {results}")
    return [int(result["label"]) if "label" in result else result for result in results]


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
    images, expected = held_out_set()
    print(f"{'truth':<10} {expected[:20].tolist()} ...")
    for title, run, address in (
        ("gRPC", predict, arguments.grpc),
        ("gRPC async", predict_async, arguments.grpc),
        ("REST", predict_over_rest, arguments.rest),
    ):
        labels = run(address, images)
        right = sum(label == truth for label, truth in zip(labels, expected, strict=True))
        accuracy = right / len(images)
        print(f"{title:<10} {labels[:20]} ... {right} of {len(images)} right, accuracy {accuracy:.3f}")
        if accuracy < LEAST_ACCURACY:
            sys.exit(f"{title}: an accuracy of at least {LEAST_ACCURACY} was expected")


if __name__ == "__main__":
    main()
