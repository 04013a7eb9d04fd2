"""A pipeline: text in, text out, with the model between them. Paddle Serving has it as an Op in a WebService."""

import numpy as np

from mindspore_serving.server import register


def read_house(x):
    """One house of 13 numbers, as `0.0137, -0.1136, ...`."""
    numbers = [float(number) for number in x.split(",")]
    if len(numbers) != 13:
        raise register.InvalidInput(f"a house has 13 numbers, got {len(numbers)}")
    return np.array(numbers, np.float32)


def write_price(price):
    """The price in dollars; the model counts in thousands."""
    return f"${float(price[0]) * 1000:,.0f}"


@register.register_method(
    output_names=["price"], inputs={"x": register.Text()}, outputs={"price": register.Text()}
)
def predict(x):
    """Tell the price of a house."""
    house = register.add_stage(read_house, x, outputs_count=1)
    price = register.call("uci_housing_model", "predict", house)
    return register.add_stage(write_price, price, outputs_count=1)
