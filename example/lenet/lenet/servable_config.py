"""Servable `lenet`: the digit that an image shows."""

from lenet.preprocess import image_to_input

from mindspore_serving.server import register

# The file takes exactly 32 images. The server fills up smaller batches, and puts together what different clients send.
model = register.declare_model(model_file="lenet.mindir", model_format="MindIR", with_batch_dim=True)


def preprocess(image):
    """Bytes that a client sends arrive as a 1-D uint8 array."""
    return image_to_input(image.tobytes())


@register.register_method(
    output_names=["label"],
    inputs={"image": register.Image("one digit, bright on dark")},
    outputs={"label": register.TensorSpec("int64", [])},
)
def predict(image):
    """The digit that an image shows."""
    x = register.add_stage(preprocess, image, outputs_count=1)
    scores = register.add_stage(model, x, outputs_count=1)
    return register.add_stage("argmax_cpp", scores, outputs_count=1)  # built in
