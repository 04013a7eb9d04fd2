"""Add matrices on the server with NVIDIA's tritonclient, over gRPC and REST: pip install "tritonclient[grpc,http]"."""

import argparse

import numpy as np
import tritonclient.grpc
import tritonclient.http

X1 = np.array([[1.5, 2.5], [3.5, 4.5]], np.float32)
X2 = np.array([[5.0, 6.0], [7.0, 8.0]], np.float32)


def add(module, address):
    """One request to the model `add.add_common`; `module` is tritonclient.grpc or tritonclient.http."""
    inputs = []
    for name, value in (("x1", X1), ("x2", X2)):
        tensor = module.InferInput(name, list(value.shape), "FP32")
        inputs.append(tensor.set_data_from_numpy(value))
    with module.InferenceServerClient(address) as client:
        return client.infer("add.add_common", inputs).as_numpy("y")


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
    for title, module, address in (
        ("gRPC", tritonclient.grpc, arguments.grpc),
        ("REST", tritonclient.http, arguments.rest),
    ):
        y = add(module, address)
        assert np.array_equal(y, X1 + X2), f"{title}: {y} instead of {X1 + X2}"
        print(f"{title} add_common: {y.tolist()}")


if __name__ == "__main__":
    main()
