"""Models with dimensions of any size, as sequences have: MindSpore compiles once, instances keep their length."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.client import Client
from mindspore_serving.errors import InvalidInput, ModelError, StartUpError
from mindspore_serving.server.backend.contract import LoadedGraph
from mindspore_serving.server.worker.model_runner import ModelRunner
from mindspore_serving.tensor import Array, DataType, TensorSpec
from tests.support.http_requests import send
from tests.support.serving import RunningServer, add_servable, serving

Load = Callable[..., LoadedGraph]
SENTENCES = """
import numpy as np

from mindspore_serving.server import register

model = register.declare_model("sentences.mindir", "MindIR", max_batch_size=16, runtime_options={"sample_size": 4})


@register.register_method(output_names=["scores"])
def score(words):
    scores, _ = register.add_stage(model, words, outputs_count=2)
    return scores


@register.register_method(output_names=["vectors"], inputs={"words": register.TensorSpec("int32", [5])})
def five_vectors(words):
    _, vectors = register.add_stage(model, words, outputs_count=2)
    return vectors


def lengths(text):
    return np.array([len(word) for word in text.split()], np.int32)


@register.register_method(output_names=["scores"])
def score_text(text):
    words = register.add_stage(lengths, text, outputs_count=1)
    scores, _ = register.add_stage(model, words, outputs_count=2)
    return scores
"""


def scored(models: Path) -> dict[int, tuple[Array, Array]]:
    """What MindSpore itself gives: length to words and their scores."""
    known = np.load(models / "sentences.npz")
    lengths = sorted(int(name.partition("_")[2]) for name in known if name.startswith("words"))
    assert len(lengths) == 10
    return {length: (known[f"words_{length}"], known[f"scores_{length}"]) for length in lengths}


def test_the_file_tells_which_dimensions_are_dynamic(load: Load) -> None:
    graph = load("sentences")
    assert graph.dynamic_batch
    assert [(spec.dtype, spec.shape) for spec in graph.signature.inputs] == [(DataType.INT32, (-1, -1))]
    assert [spec.shape for spec in graph.signature.outputs] == [(-1, 4), (-1, -1, 8)]


def test_all_lengths_are_compiled_once(load: Load, models: Path) -> None:
    graph = load("sentences")
    cell = graph._run._cell  # type: ignore[attr-defined]  # MindSpore counts what it compiled in the cell
    for rows in (1, 3):
        for words, scores in scored(models).values():
            found, vectors = graph.predict([np.repeat(words[np.newaxis], rows, 0)])
            np.testing.assert_allclose(found, [scores] * rows, rtol=1e-4, atol=1e-6)
            assert vectors.shape == (rows, len(words), 8)
    assert len(cell.compile_cache) == 1


def test_results_stay_when_another_length_runs(load: Load) -> None:
    graph = load("sentences")
    first = graph.predict([np.full((2, 3), 7, np.int32)])
    kept = [one.copy() for one in first]
    for length in (3, 9, 1):
        graph.predict([np.zeros((2, length), np.int32)])
    for one, other in zip(first, kept, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("shape", [(2,), (2, 0), (0, 2), (2, 2, 1)])
def test_a_shape_that_no_instance_may_have_is_refused(load: Load, shape: tuple[int, ...]) -> None:
    graph = load("sentences")
    with pytest.raises(InvalidInput, match="Given model input 0"):
        graph.predict([np.zeros(shape, np.int32)])
    assert len(graph.predict([np.zeros((1, 2), np.int32)])) == 2


def test_a_fixed_batch_of_any_length(load: Load) -> None:
    graph = load("second_dimension_dynamic")
    assert not graph.dynamic_batch
    runner = ModelRunner(graph, True, (), 64)
    assert (runner.batch_size, runner.inputs[0].shape) == (2, (-1,))
    for length in (1, 5, 2):
        x = np.arange(3 * length, dtype=np.float32).reshape(3, length)
        assert np.array([y for (y,) in runner.call([[row, row] for row in x])]).tolist() == (x + x).tolist()


def test_a_model_without_a_batch(load: Load) -> None:
    graph = load("bag", with_batch_dim=False, max_batch_size=1)
    assert graph.signature.inputs == (TensorSpec("x", DataType.FLOAT32, (-1,)),)
    for length in (1, 100, 7):
        [mean] = graph.predict([np.arange(length, dtype=np.float32)])
        assert mean == (length - 1) / 2


def test_an_input_without_a_batch_of_any_length(load: Load) -> None:
    graph = load("all_dynamic", without_batch_dim_inputs=(1, 2), max_batch_size=2)
    x, one = np.ones((2, 2), np.float32), np.float32(1)
    for length in (1, 2):
        [y] = graph.predict([x, np.full((length, 2), 3, np.float32), np.asarray(one)])
        np.testing.assert_array_equal(y, x * 3 + 1)


def test_a_size_that_the_model_takes_is_found(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr("mindspore_serving.log.info", lambda text, *args, **_: lines.append(text % args))
    graph = load("tiles")
    [line] = lines
    assert "tiles.mindir does not run with dimensions of 16: " in line
    [means] = graph.predict([np.ones((1, 1, 40, 60), np.float32)])
    np.testing.assert_allclose(means, np.ones((1, 1, 2, 3)))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"sample_size": 3}, "MindSpore cannot load or run .*tiles.mindir"),
        ({"sample_size": 0}, "runtime_options of MindSpore has sample_size=0, expected an int from 1 on"),
        ({"size": 64}, "runtime_options of MindSpore has the unknown name 'size', expected 'sample_size'"),
    ],
)
def test_options(load: Load, options: dict[str, Any], text: str) -> None:
    with pytest.raises(StartUpError, match=text):
        load("tiles", options=options)


def test_lengths_that_do_not_go_together_fail_alone(load: Load) -> None:
    graph = load("both_dimensions_dynamic")
    with pytest.raises(ModelError, match="need to broadcast"):
        graph.predict([np.ones((1, 2), np.float32), np.ones((1, 3), np.float32)])
    [total] = graph.predict([np.ones((1, 2), np.float32), np.ones((1, 2), np.float32)])
    np.testing.assert_array_equal(total, [[2, 2]])
    for a, b in ((2, 3), (7, 5)):  # so that one client cannot keep the model from others
        with pytest.raises(ModelError, match=rf"\[\[1, {a}\], \[1, {b}\]\] are not tried within \d+ s"):
            graph.predict([np.ones((1, a), np.float32), np.ones((1, b), np.float32)])
    for length in (1, 2, 5):
        [total] = graph.predict([np.ones((1, length), np.float32), np.ones((1, 1), np.float32)])
        np.testing.assert_array_equal(total, [[2] * length])


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("sentences")
    add_servable(folder, "sentences", SENTENCES, files=())
    (folder / "sentences/1").mkdir(exist_ok=True)
    shutil.copy(models / "sentences.mindir", folder / "sentences/1")
    with serving(folder, ['".", "sentences"'], backend="mindspore") as running:
        yield running


def test_ten_lengths_in_one_request_in_mixed_order(server: RunningServer, models: Path) -> None:
    known = list(scored(models).values()) * 3
    random.Random(5).shuffle(known)
    with Client(server.grpc, "sentences", "score") as client:
        replies = client.infer([{"words": words} for words, _ in known])
    assert len(replies) == 30
    for reply, (_, scores) in zip(replies, known, strict=True):
        np.testing.assert_allclose(reply["scores"], scores, rtol=1e-4, atol=1e-6)


def test_json_of_several_lengths(server: RunningServer, models: Path) -> None:
    known = scored(models)
    order = [9, 1, 37, 9]
    body = {"instances": [{"words": known[length][0].tolist()} for length in order]}
    reply = json.loads(send(server.rest, "POST", "/model/sentences:score", body).body)
    for instance, length in zip(reply["instances"], order, strict=True):
        np.testing.assert_allclose(instance["scores"], known[length][1], rtol=1e-4, atol=1e-6)


def test_an_index_that_the_model_does_not_have_fails_alone(server: RunningServer) -> None:
    good, bad = np.ones(3, np.int32), np.full(4, 1000, np.int32)
    with Client(server.grpc, "sentences", "score") as client:
        replies = client.infer([{"words": one} for one in (good, bad, good)])
    assert "error" in replies[1]
    np.testing.assert_array_equal(replies[0]["scores"], replies[2]["scores"])


def test_what_a_stage_makes_may_have_any_length(server: RunningServer) -> None:
    texts = ["a bb ccc", "dddd", "e ff ggg", "hhhh iiiii"]
    with Client(server.grpc, "sentences", "score_text") as client:
        found = client.infer([{"text": text} for text in texts])
    with Client(server.grpc, "sentences", "score") as client:
        expected = client.infer([{"words": np.int32(n)} for n in ([1, 2, 3], [4], [1, 2, 3], [4, 5])])
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one["scores"], other["scores"], rtol=1e-4, atol=1e-6)


def test_metadata_has_the_dimensions_of_any_size(server: RunningServer) -> None:
    reply = json.loads(send(server.rest, "GET", "/model/sentences:score").body)
    [method] = reply["methods"]
    assert (method["inputs"][0]["shape"], method["outputs"][0]["shape"]) == ([-1], [4])
    reply = json.loads(send(server.rest, "GET", "/v2/models/sentences.score").body)
    assert (reply["inputs"][0]["shape"], reply["outputs"][0]["shape"]) == ([-1, -1], [-1, 4])


def test_a_declared_length_is_the_only_one(server: RunningServer) -> None:
    [method] = json.loads(send(server.rest, "GET", "/model/sentences:five_vectors").body)["methods"]
    assert (method["inputs"][0]["shape"], method["outputs"][0]["shape"]) == ([5], [-1, 8])
    with Client(server.grpc, "sentences", "five_vectors") as client:
        five, four = client.infer([{"words": np.ones(n, np.int32)} for n in (5, 4)])
    assert five["vectors"].shape == (5, 8)
    assert "expected int32 of shape [5]" in four["error"]
