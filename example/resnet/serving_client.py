"""Have the server classify pictures by each of its methods, over gRPC, over gRPC without waiting, and over REST."""

import argparse
import base64
import contextlib
import http.client
import json
import sys

from images import sample_images

from mindspore_serving.client import Client

METHODS = ("classify_top1", "classify_top1_batch", "classify_top1_v2", "classify_top1_v3", "classify_top5")
NO_IMAGE = b"this is no image"


def classify(address, images):
    """One method after the other, with all images in one request; results by method."""
    return {method: infer(address, method, images) for method in METHODS}


def classify_async(address, images):
    """All methods and images at the same time, one image in a request."""
    with contextlib.ExitStack() as clients:
        calls = {}
        for method in METHODS:
            client = clients.enter_context(Client(address, "resnet50", method))
            calls[method] = [client.infer_async({"image": image}) for image in images]
        replies = {method: [call.result() for call in of_method] for method, of_method in calls.items()}
    # The reply to a request is a list, or, if all of it has failed, a dict.
    return {
        method: [reply[0] if isinstance(reply, list) else reply for reply in of_method]
        for method, of_method in replies.items()
    }


def classify_over_rest(address, images):
    """JSON carries bytes in base64."""
    body = json.dumps(
        {"instances": [{"image": {"b64": base64.b64encode(image).decode()}} for image in images]}
    )
    with contextlib.closing(http.client.HTTPConnection(address)) as connection:
        results = {}
        for method in METHODS:
            connection.request("POST", f"/model/resnet50:{method}", body)
            reply = json.loads(connection.getresponse().read())
            results[method] = reply.get("instances", reply)
    return results


def infer(address, method, images):
    with Client(address, "resnet50", method) as client:
        return client.infer([{"image": image} for image in images])


def labels_of(results):
    """The most probable label of each image."""
    if not isinstance(results, list) or not all("label" in result for result in results):
        sys.exit(f"The request failed: {results}")
    return [result["label"].split(";")[0] for result in results]


def check_agreement(title, results_of_methods):
    """Labels of the images, the same by each method."""
    labels_of_methods = {method: labels_of(results) for method, results in results_of_methods.items()}
    first, *others = labels_of_methods.values()
    if any(labels != first for labels in others):
        sys.exit(f"{title}: the methods disagree: {labels_of_methods}")
    print(f"{title:<10} the {len(labels_of_methods)} methods agree on {len(first)} images")
    return first


def check_bad_image(address, image, label):
    """Between two good images, one that cannot be decoded fails alone, whatever the method."""
    for method in METHODS:
        results = infer(address, method, [image, NO_IMAGE, image])
        if not isinstance(results, list) or labels_of([results[0], results[2]]) != [label, label]:
            sys.exit(f"{method}: good images beside a bad one failed: {results}")
        if "the image cannot be decoded" not in results[1].get("error", ""):
            sys.exit(f"{method}: an error was expected for what is no image, not {results[1]}")
        print(f"{method}: {results[1]['error'].partition('error msg: ')[2]}")


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
    images = sample_images()
    labels = []
    for title, run, address in (
        ("gRPC", classify, arguments.grpc),
        ("gRPC async", classify_async, arguments.grpc),
        ("REST", classify_over_rest, arguments.rest),
    ):
        labels.append(check_agreement(title, run(address, list(images.values()))))
    if any(other != labels[0] for other in labels):
        sys.exit(f"The labels differ from one way of asking to another: {labels}")
    for name, label in zip(images, labels[0], strict=True):
        print(f"{name:<14} {label}")
    check_bad_image(arguments.grpc, images["sun.png"], labels[0][0])


if __name__ == "__main__":
    main()
