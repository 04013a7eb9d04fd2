"""Networks of the examples with random weights, each with the number of the class as its result."""

from mindspore_serving.server import register

lenet_model = register.declare_model(model_file="lenet.mindir", model_format="MindIR")
resnet_model = register.declare_model(model_file="resnet.mindir", model_format="MindIR")


@register.register_method(output_names=["label"])
def lenet(x):
    scores = register.add_stage(lenet_model, x, outputs_count=1)
    return register.add_stage("argmax_cpp", scores, outputs_count=1)


@register.register_method(output_names=["label"])
def resnet(x):
    scores = register.add_stage(resnet_model, x, outputs_count=1)
    return register.add_stage("argmax_cpp", scores, outputs_count=1)
