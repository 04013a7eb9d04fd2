"""Have the server recognise digits with NVIDIA's tritonclient: pip install "tritonclient[grpc,http]"."""

import argparse
import sys

import numpy as np
import tritonclient.grpc
import tritonclient.http
from digits import held_out_set

LEAST_ACCURACY = 0.9


def predict(module, address, images):
    """All images in one request, a row each; `module` is tritonclient.grpc or tritonclient.http."""
    rows = np.array(images, np.object_)
    tensor = module.InferInput("image", list(rows.shape), "BYTES")
    with module.InferenceServerClient(address) as client:
        result = client.infer("lenet.predict", [tensor.set_data_from_numpy(rows)])
    return result.as_numpy("label").reshape(-1).tolist()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--grpc",
        metavar="ADDRESS",
        default="127.0.0.1:5500",
        help="of the gRPC server, ip:port (default: %(default)s)",
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
    for title, module, address in (
        ("gRPC", tritonclient.grpc, arguments.grpc),
        ("REST", tritonclient.http, arguments.rest),
    ):
        labels = predict(module, address, images)
        right = sum(label == truth for label, truth in zip(labels, expected, strict=True))
        accuracy = right / len(images)
        print(f"{title:<10} {labels[:20]} ... {right} of {len(images)} right, accuracy {accuracy:.3f}")
        if accuracy < LEAST_ACCURACY:
            sys.exit(f"{title}: an accuracy of at least {LEAST_ACCURACY} was expected")


if __name__ == "__main__":
    main()
