"""What a worker registers of a servable that it has loaded."""

from __future__ import annotations

from pathlib import Path

from mindspore_serving.server.worker.servable_loader import load_servable
from tests.support.plans import worker_plan

CONFIG = """
from mindspore_serving.server import register

def add(x1, x2):
    return x1 + x2, x1 - x2

@register.register_method(output_names=["sum", "difference"])
def both(x1, x2):
    return register.add_stage(add, x1, x2, outputs_count=2)

@register.register_pipeline(output_names="y")
def chain(x1, x2):
    return both(x1, x2)
"""


def test_methods_are_registered_with_the_names_of_inputs_and_outputs(tmp_path: Path) -> None:
    folder = tmp_path / "sums"
    folder.mkdir()
    (folder / "servable_config.py").write_text(CONFIG)
    loaded = load_servable(worker_plan("sums", servable_directory=str(tmp_path)))
    found = {method.name: (method.input_names, method.output_names) for method in loaded.methods}
    assert found == {
        "both": (("x1", "x2"), ("sum", "difference")),
        "chain": (("x1", "x2"), ("y",)),
    }
