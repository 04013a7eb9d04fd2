"""The servable_config.py of `echo`: a method for each datatype that gives back its input, [-1, -1]."""

from mindspore_serving.server import register

TYPES = {
    "bool": register.TensorSpec("bool", [-1]),
    **{f"uint{bits}": register.TensorSpec(f"uint{bits}", [-1]) for bits in (8, 16, 32, 64)},
    **{f"int{bits}": register.TensorSpec(f"int{bits}", [-1]) for bits in (8, 16, 32, 64)},
    **{f"fp{bits}": register.TensorSpec(f"float{bits}", [-1]) for bits in (16, 32, 64)},
    "bytes": register.Bytes(),
}


def same(x):
    return x


def echo(x):
    return register.add_stage(same, x, outputs_count=1)


for name, kind in TYPES.items():
    echo.__name__ = f"echo_{name}"
    register.register_method(output_names=["y"], inputs={"x": kind}, outputs={"y": kind})(echo)
