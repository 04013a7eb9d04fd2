"""Ask for the price of a house: the model over Paddle Serving's own path, and the pipeline with keys and values."""

import argparse
import json
import urllib.request

HOUSE = [0.0137, -0.1136, 0.2553, -0.0692, 0.0582, -0.0727, -0.1583]
HOUSE += [-0.0584, 0.6283, 0.4919, 0.1856, 0.0795, -0.0332]


def post(url, body):
    with urllib.request.urlopen(url, json.dumps(body).encode()) as reply:
        return json.load(reply)


def run():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rest", metavar="ADDRESS", default="127.0.0.1:1500", help="address of REST")
    server = f"http://{parser.parse_args().rest}"

    tensor = {"name": "x", "alias_name": "x", "elem_type": 1, "shape": [1, 13], "float_data": HOUSE}
    reply = post(
        f"{server}/GeneralModelService/inference", {"tensor": [tensor], "fetch_var_names": ["price"]}
    )
    print("model   ", reply["outputs"][0]["tensor"][0]["float_data"][0])

    reply = post(f"{server}/uci/prediction", {"key": ["x"], "value": [", ".join(map(str, HOUSE))]})
    print("pipeline", reply["value"][0])

    reply = post(f"{server}/uci/prediction", {"key": ["x"], "value": ["1, 2, 3"]})
    print("error   ", reply["err_no"], reply["err_msg"])


if __name__ == "__main__":
    run()
