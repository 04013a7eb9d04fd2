"""Send images with one object each, and one without, and print what the server sees on them."""

import argparse

import numpy as np

from mindspore_serving.client import Client

IMAGE = 64


def image_of(shape, size, top, left, brightness):
    """An image with one object."""
    axis = np.linspace(-1, 1, size)
    x, y = np.meshgrid(axis, axis)
    inside = {
        "square": np.ones([size, size], bool),
        "disc": x**2 + y**2 <= 1,
        "cross": (np.abs(x) < 0.34) | (np.abs(y) < 0.34),
    }[shape]
    image = np.zeros([IMAGE, IMAGE], np.float32)
    image[top : top + size, left : left + size] = inside * brightness
    return image


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--grpc",
        metavar="ADDRESS",
        default="127.0.0.1:5500",
        help="of the gRPC server, ip:port or unix:path (default: %(default)s)",
    )
    address = parser.parse_args().grpc
    drawn = [("square", 20, 3, 40, 0.9), ("disc", 33, 10, 5, 0.5), ("cross", 24, 30, 30, 0.8)]
    images = [image_of(*one) for one in drawn] + [np.zeros([IMAGE, IMAGE], np.float32)]
    with Client(address, "joiner", "describe") as client:
        results = client.infer([{"image": image} for image in images])
    for result in results:
        print(f"{result['text']}, box {result['box'].tolist()}" if "text" in result else result["error"])
    for (shape, size, top, left, _), result in zip(drawn, results, strict=False):  # but for the empty image
        assert result["label"] == shape, result
        assert result["box"].tolist() == [top, left, top + size, left + size], result


if __name__ == "__main__":
    main()
