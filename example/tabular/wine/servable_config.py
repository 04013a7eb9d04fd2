"""Servable `wine`: which of three growers a wine is from, by 13 measurements. The model is one of scikit-learn."""

from pathlib import Path

import joblib
import numpy as np

from mindspore_serving.server import register

GROWERS = ("first grower", "second grower", "third grower")

# Loaded once in each worker. Like any pickle, the file can run code: load only files that you have made.
classifier = joblib.load(Path(__file__).parent / "1" / "wine.joblib")


def classify(instances):
    """All instances that wait, in one call of the classifier: a forest takes 48 as fast as one."""
    measurements = np.stack([measurements for (measurements,) in instances])
    for probabilities in classifier.predict_proba(measurements):
        yield GROWERS[probabilities.argmax()], probabilities


@register.register_method(
    output_names=["grower", "probabilities"],
    inputs={"measurements": register.TensorSpec("float64", [13], "alcohol, malic acid, ash, ..., proline")},
    outputs={"grower": register.Text(), "probabilities": register.TensorSpec("float64", [3])},
    examples=[
        {
            "measurements": np.array(
                [14.23, 1.71, 2.43, 15.6, 127, 2.8, 3.06, 0.28, 2.29, 5.64, 1.04, 3.92, 1065]
            )
        }
    ],
)
def predict(measurements):
    """The grower, and how probable each of the three is."""
    return register.add_stage(classify, measurements, outputs_count=2, batch_size=256)
