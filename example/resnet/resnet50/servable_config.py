"""Servable `resnet50`: the class of an image, by five ways of putting the same steps together."""

import numpy as np
from resnet50.preprocess import image_to_input

from mindspore_serving.server import register

TOP = 5

# The file takes exactly 4 images. The server fills up smaller batches, and divides larger ones.
model = register.declare_model(model_file="resnet50.mindir", model_format="MindIR", with_batch_dim=True)


def preprocess(image):
    """Bytes that a client sends arrive as a 1-D uint8 array."""
    return image_to_input(image.tobytes())


def preprocess_batch(instances):
    """One input per instance. For an image that raises, the server goes on with the images after it.

    A pipeline of mindspore.dataset would read ahead: it raises before it has yielded all that comes before the damaged
    image, and the wrong instance would fail. It would also bring MindSpore into workers that have no model.
    """
    for (image,) in instances:
        yield preprocess(image)


def top1(scores):
    return label_of(np.argmax(scores))


def top1_batch(instances):
    for (scores,) in instances:
        yield top1(scores)


def top5(scores):
    """Labels of the five most probable classes, joined with `;`, and their probabilities."""
    exponentials = np.exp(scores - scores.max())
    best = np.argsort(-scores, kind="stable")[:TOP]
    return ";".join(map(label_of, best)), exponentials[best] / exponentials.sum()


def classify(image):
    """All steps for one image."""
    return top1(model.call(preprocess(image)))


def classify_batch(instances):
    """All steps for a batch. The images before a damaged one are classified together, then it raises for this one."""
    inputs, error = inputs_until_error(instances)
    if inputs:
        for (scores,) in model.call(inputs):
            yield top1(scores)
    if error is not None:
        raise error


def inputs_until_error(instances):
    inputs = []
    for (image,) in instances:
        try:
            inputs.append([preprocess(image)])
        except Exception as error:  # raised only after the labels of the images before this one
            return inputs, error
    return inputs, None


def label_of(index):
    return f"class {index}"


@register.register_method(output_names=["label"])
def classify_top1(image):
    """A function per image, the model, a function per image."""
    x = register.add_stage(preprocess, image, outputs_count=1)
    scores = register.add_stage(model, x, outputs_count=1)
    return register.add_stage(top1, scores, outputs_count=1)


@register.register_method(output_names=["label"])
def classify_top1_batch(image):
    """The same with functions that get all images that wait, up to 1024."""
    x = register.add_stage(preprocess_batch, image, outputs_count=1, batch_size=1024)
    scores = register.add_stage(model, x, outputs_count=1)
    return register.add_stage(top1_batch, scores, outputs_count=1, batch_size=1024)


@register.register_method(output_names=["label"])
def classify_top1_v2(image):
    """One function, which calls the model itself."""
    return register.add_stage(classify, image, outputs_count=1)


@register.register_method(output_names=["label"])
def classify_top1_v3(image):
    """One function, which calls the model with up to 32 images."""
    return register.add_stage(classify_batch, image, outputs_count=1, batch_size=32)


@register.register_method(output_names=["label", "score"])
def classify_top5(image):
    """Text and an array as outputs."""
    x = register.add_stage(preprocess, image, outputs_count=1)
    scores = register.add_stage(model, x, outputs_count=1)
    return register.add_stage(top5, scores, outputs_count=2)
