"""Sections 3.2 and 5.2: `declare_servable`, `call_preprocess` and its kin, and pipelines (releases 1.3 and 1.4)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.conformance.attempts import add_attempts, told
from tests.conformance.departures import agrees
from tests.conformance.row import row, stands_for
from tests.support.grpc_messages import RawClient, errors, instance, request, tensor
from tests.support.http_requests import post
from tests.support.serving import RunningServer, add_servable, serving

SQUARE = np.array([[1, 2], [3, 4]], np.float32)
ONES = np.ones((2, 2), np.float32)

# --- How registration is refused ---

IMPORTS = """\
from mindspore_serving.server.register import (
    call_postprocess, call_postprocess_pipeline, call_preprocess, call_preprocess_pipeline, call_servable
)


def pre(x1, x2):
    return x1, x2


def other_pre(x1, x2):
    return x1, x2


def pre_batch(instances):
    return instances


def post(y):
    return y


def other_post(y):
    return y


def post_batch(instances):
    return instances


"""
PRE = "x1, x2 = register.call_preprocess(pre, x1, x2)"
OTHER_PRE = "x1, x2 = register.call_preprocess(other_pre, x1, x2)"
PRE_PIPELINE = "x1, x2 = register.call_preprocess_pipeline(pre_batch, x1, x2)"
MODEL = "y = register.call_servable(x1, x2)"
POST = "y = register.call_postprocess(post, x1)"
OTHER_POST = "y = register.call_postprocess(other_post, x1)"
POST_PIPELINE = "y = register.call_postprocess_pipeline(post_batch, x1)"


def method(*lines: str, name: str = "attempted", last: str = "return y") -> str:
    body = "".join(f"    {line}\n" for text in (*lines, last) for line in text.splitlines())
    return f'{IMPORTS}@register.register_method(output_names=["y"])\ndef {name}(x1, x2):\n{body}'


CHECK = "Check failed in method 'attempted', "
PRE_ONCE = CHECK + "call_preprocess or call_preprocess_pipeline should not be invoked more than once"
POST_ONCE = CHECK + "call_postprocess or call_postprocess_pipeline should not be invoked more than once"
POST_AFTER = CHECK + "call_postprocess or call_postprocess_pipeline should be invoked after "

ORDER = {
    "3.2-order-preprocess-twice": (method(PRE, OTHER_PRE, MODEL), PRE_ONCE),
    "3.2-order-preprocess-twice-pipeline-second": (method(PRE, PRE_PIPELINE, MODEL), PRE_ONCE),
    "3.2-order-preprocess-twice-pipeline-first": (method(PRE_PIPELINE, PRE, MODEL), PRE_ONCE),
    "3.2-order-servable-before-preprocess": (
        method(MODEL, PRE),
        CHECK + "call_servable should be invoked after call_preprocess",
    ),
    "3.2-order-servable-before-preprocess-pipeline": (
        method(MODEL, PRE_PIPELINE),
        CHECK + "call_servable should be invoked after call_preprocess_pipeline",
    ),
    "3.2-order-postprocess-before-preprocess": (
        method(POST, PRE, MODEL),
        POST_AFTER + "call_preprocess",
    ),
    "3.2-order-postprocess-before-preprocess-pipeline": (
        method(POST_PIPELINE, PRE_PIPELINE, MODEL),
        POST_AFTER + "call_preprocess_pipeline",
    ),
    "3.2-order-servable-twice": (
        method(MODEL, MODEL),
        CHECK + "call_servable should not be invoked more than once",
    ),
    "3.2-order-postprocess-before-servable": (method(POST, MODEL), POST_AFTER + "call_servable"),
    "3.2-order-postprocess-pipeline-before-servable": (
        method(PRE, POST_PIPELINE, MODEL),
        POST_AFTER + "call_servable",
    ),
    # Functions are given where their inputs do not fit: the order counts first.
    "3.2-order-preprocess-twice-before-arity": (
        method(PRE, "x1, x2 = register.call_preprocess_pipeline(pre, x1, x2)", MODEL),
        PRE_ONCE,
    ),
    "3.2-order-servable-before-preprocess-before-arity": (
        method(MODEL, "x1, x2 = register.call_preprocess(post, x1, x2)"),
        CHECK + "call_servable should be invoked after call_preprocess",
    ),
    "3.2-order-postprocess-before-servable-before-arity": (
        method("y = register.call_postprocess_pipeline(pre, x1)", MODEL),
        POST_AFTER + "call_servable",
    ),
    "3.2-order-postprocess-twice": (method(MODEL, POST, OTHER_POST), POST_ONCE),
    "3.2-order-postprocess-twice-pipeline": (method(MODEL, POST_PIPELINE, POST), POST_ONCE),
}


def complex_method(names: str, *, code: bool = True) -> str:
    """Pattern of the sentence about statements that are too complex."""
    tail = r", code \w+: line \d+ in attempted, code: .+" if code else "(, code .+)?"
    quoted = re.escape(f"'{names}'")
    return (
        r"Failed to parse method 'attempted', complex statements such as conditions and loops are not supported in "
        rf"register_method when the interface {quoted} is used, use 'add_stage' to replace {quoted}{tail}"
    )


# Patterns, since line numbers and code are part of the texts.
COMPLEX = {
    "5.2-ast-if": (method(MODEL, "if True:\n    pass"), complex_method("call_servable")),
    "5.2-ast-for": (method("for _ in range(2):\n    pass", MODEL), complex_method("call_servable")),
    "5.2-ast-while": (method("while False:\n    pass", MODEL), complex_method("call_servable")),
    "5.2-ast-with": (
        method("import contextlib", "with contextlib.nullcontext():\n    pass", MODEL),
        complex_method("call_servable"),
    ),
    "5.2-ast-other-call": (method("k = len('abc')", MODEL), complex_method("call_servable")),
    "5.2-ast-several-names": (
        method(PRE, "if True:\n    pass", MODEL),
        complex_method("call_preprocess;call_servable"),
    ),
    "5.2-ast-nested-call": (
        method("if True:\n    y = register.call_servable(x1, x2)"),
        complex_method("call_servable", code=False),
    ),
    "5.2-ast-nested-preprocess": (
        method("if True:\n    x1, x2 = register.call_preprocess(pre, x1, x2)", MODEL),
        complex_method("call_preprocess", code=False).replace("'call_preprocess'", "'call_[a-z_;]+'"),
    ),
    "5.2-ast-mixed-with-add_stage": (
        method("x1, x2 = register.add_stage(pre, x1, x2, outputs_count=2)", MODEL),
        complex_method("call_servable"),
    ),
    "5.2-ast-mixed-with-add_stage-after": (
        method(MODEL, "y = register.add_stage(post, y, outputs_count=1)"),
        complex_method("call_servable"),
    ),
    "5.2-ast-stage-count": (
        method(MODEL, last="return register.call_postprocess(post, y)"),
        r"Failed to parse method attempted, the number of stages obtained through the AST 1 is inconsistent with the "
        r"running result 2\..*",
    ),
}

AST = {
    "5.2-ast-no-servable": (method(PRE, last="return x1"), "Not find the invoke of 'call_servable'"),
    "5.2-ast-servable-without-args": (
        method("y = register.call_servable()"),
        "Invalid 'call_servable' invoke args",
    ),
    "5.2-ast-preprocess-without-args": (
        method("x1, x2 = register.call_preprocess()", MODEL),
        "Invalid 'call_preprocess' invoke args",
    ),
    "5.2-ast-subgraph-negative": (
        method("y = register.call_servable(x1, x2, subgraph=-1)"),
        "Parameter 'subgraph' should be >= 0",
    ),
    "5.2-ast-subgraph-type": (
        method("y = register.call_servable(x1, x2, subgraph='0')"),
        "Parameter 'subgraph' should be int, but actually <class 'str'>",
    ),
    "5.2-ast-ok": (method(PRE, MODEL, "y = register.call_postprocess(post, y)", name="ok"), "no error"),
    "5.2-ast-plain-names": (
        method("x1, x2 = call_preprocess(pre, x1, x2)", "y = call_servable(x1, x2)", name="plain"),
        "no error",
    ),
    "5.2-ast-docstring": (method('"""What it does."""', MODEL, name="documented"), "no error"),
    "5.2-ast-value-assigned": (method("k = 3", "name = 'abc'", MODEL, name="assigned"), "no error"),
    "3.2-text-placeholder": (
        method("y = register.call_servable(np.ones((2, 2)), x2)"),
        "Each value of parameter *args is a placeholder for data and must come from the method inputs or the outputs "
        "of add_stage",
    ),
    "3.2-text-preprocess-arity": (
        method("x1, x2 = register.call_preprocess(post, x1, x2)", MODEL),
        "function post input args count 1 not match the count 2 registered in method",
    ),
    "3.2-text-no-arity-of-batch-functions": (
        method("x1, x2 = register.call_preprocess_pipeline(pre, x1, x2)", MODEL, name="batch_arity"),
        "no error",
    ),
    "3.2-PipelineServable-servable_name": (
        "register.PipelineServable(1, 'ok')",
        "Parameter 'servable_name' should be str, but actually <class 'int'>",
    ),
    "3.2-PipelineServable-method": (
        "register.PipelineServable('one_model', 1)",
        "Parameter 'method' should be str, but actually <class 'int'>",
    ),
    "3.2-PipelineServable-version_number": (
        "register.PipelineServable('one_model', 'ok', -1)",
        "Parameter 'version_number' should be >= 0",
    ),
    "3.2-register_pipeline-output_names": (
        "register.register_pipeline(output_names=1)",
        "Parameter 'output_names' should be str or tuple/list of str, but actually <class 'int'>",
    ),
    "3.2-register_pipeline-var-positional": (
        "@register.register_pipeline(output_names='y')\ndef attempted(*x):\n    return x",
        "'attempted' input x cannot be VAR_POSITIONAL !",
    ),
    "3.2-register_pipeline-var-keyword": (
        "@register.register_pipeline(output_names='y')\ndef attempted(**x):\n    return x",
        "'attempted' input x cannot be VAR_KEYWORD !",
    ),
    "3.2-register_pipeline-keyword-only": (
        "@register.register_pipeline(output_names='y')\ndef attempted(*, x):\n    return x",
        "'attempted' input x cannot be KEYWORD_ONLY !",
    ),
}
TWICE = "@register.register_pipeline(output_names='y')\ndef piped(x):\n    return x\n\n\n"
PIPED = {
    "3.2-register_pipeline-twice": (TWICE + TWICE, "Pipeline piped has been registered more than once."),
}

BARE = {
    "3.2-text-no-model": (
        method(MODEL),
        "There is no model declared, you can use declare_model to declare models.",
    ),
    "3.2-declare_servable-model_format": (
        'register.declare_servable("a.mindir", "Caffe")',
        "model format can only be OM, MindIR, MindIR_Lite, ONNX or Paddle, case ignored",
    ),
    "3.2-declare_servable-servable_file": (
        'register.declare_servable(1, "MindIR")',
        "Parameter 'servable_file' should be str or tuple/list of str, but actually <class 'int'>",
    ),
    "3.2-declare_servable-with_batch_dim": (
        'register.declare_servable("a.mindir", "MindIR", with_batch_dim=1)',
        "Parameter 'with_batch_dim' should be bool, but actually <class 'int'>",
    ),
    "3.2-declare_servable-options": (
        'register.declare_servable("a.mindir", "MindIR", options=1)',
        "Parameter 'options' should be None, dict of <str,str> or AclOptions, but gotten <class 'int'>",
    ),
}
TWO = {
    "5.2-ast-two-models": (
        method(MODEL),
        "There are more than one servable declared when the interface 'call_servable' is used, use 'add_stage' to "
        "replace 'call_servable'",
    ),
}
ONE_DECLARED = 'register.declare_servable("tensor_add.mindir", "MindIR", with_batch_dim=False)'
TWO_DECLARED = """\
register.declare_servable("tensor_add.mindir", "MindIR", with_batch_dim=False)
register.declare_servable("tensor_sub.mindir", "MindIR", with_batch_dim=False)
"""
ONE_MODEL = {**ORDER, **COMPLEX, **AST, **PIPED}


def sources(cases: dict[str, tuple[str, str]]) -> dict[str, str]:
    return {name: source for name, (source, _) in cases.items()}


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("refused_b")
    files = ["1/tensor_add.mindir", "1/tensor_sub.mindir"]
    add_attempts(folder, "one_model", sources(ONE_MODEL), ONE_DECLARED, files)
    add_attempts(folder, "bare", sources(BARE))
    add_attempts(folder, "two_models", sources(TWO), TWO_DECLARED, files)
    configs = ['".", "one_model", device_ids=0', '".", "bare"', '".", "two_models", device_ids=1']
    with serving(folder, configs) as running:
        yield running


def without_prefix(text: str) -> str:
    """Errors of the original's native layer say so first; which layer it is, is no part of the contract."""
    return text.removeprefix("Raise failed: ")


@pytest.mark.parametrize("case", [row(name, name) for name in (*ORDER, *AST, *PIPED)])
def test_refused(refused: RunningServer, case: str) -> None:
    assert agrees(case, without_prefix(told(refused, "one_model", case)), ONE_MODEL[case][1])


@pytest.mark.parametrize("case", [row(name, name) for name in COMPLEX])
def test_too_complex(refused: RunningServer, case: str) -> None:
    text = told(refused, "one_model", case)
    assert re.fullmatch(COMPLEX[case][1], text, re.DOTALL), text


@pytest.mark.parametrize("case", [row(name, name) for name in BARE])
def test_refused_without_models(refused: RunningServer, case: str) -> None:
    assert agrees(case, without_prefix(told(refused, "bare", case)), BARE[case][1])


@pytest.mark.parametrize("case", [row(name, name) for name in TWO])
def test_refused_with_two_models(refused: RunningServer, case: str) -> None:
    assert without_prefix(told(refused, "two_models", case)) == TWO[case][1]


# --- Methods of call_* stages at work ---

OLDER = """\
import numpy as np

from mindspore_serving.server import register

register.declare_servable(
    servable_file=["tensor_add.mindir", "tensor_sub.mindir"], model_format="MindIR", with_batch_dim=False,
    options={options}
)


def cast(x1, x2):
    if (x1 < 0).any():
        raise ValueError("negative input")
    return x1.astype(np.float32), x2.astype(np.float32)


def cast_batch(instances):
    for x1, x2 in instances:
        yield cast(x1, x2)


def plus_one(y):
    if (y > 100).any():
        raise ValueError("large output")
    return y + 1


def plus_one_batch(instances):
    return [plus_one(y) for (y,) in instances]


@register.register_method(output_names=["y"])
def add_common(x1, x2):
    y = register.call_servable(x1, x2)
    return y


@register.register_method(output_names=["y"])
def sub_common(x1, x2):
    y = register.call_servable(x1, x2, subgraph=1)
    return y


@register.register_method(output_names="y")
def single(x1, x2):
    x1, x2 = register.call_preprocess(cast, x1, x2)
    y = register.call_servable(x1, x2)
    y = register.call_postprocess(plus_one, y)
    return y


@register.register_method(output_names=["y", "x1"])
def batched(x1, x2):
    a, b = register.call_preprocess_pipeline(cast_batch, x1, x2)
    y = register.call_servable(a, b)
    y = register.call_postprocess_pipeline(plus_one_batch, y)
    return y, x1


def one_of_two(x1, x2):
    return (x1,)


def two_of_one(y):
    return y, y


@register.register_method(output_names=["y"])
def bad_pre(x1, x2):
    a, b = register.call_preprocess(one_of_two, x1, x2)
    y = register.call_servable(a, b)
    return y


@register.register_method(output_names=["y"])
def bad_post(x1, x2):
    y = register.call_servable(x1, x2)
    y = register.call_postprocess(two_of_one, y)
    return y


@register.register_method(output_names=["y"])
def built_in(x1, x2):
    y = register.call_servable(x1, x2)
    y = register.call_postprocess("argmax_cpp", y)
    return y
"""

PIPELINES = """

add = register.PipelineServable(servable_name="piped", method="add_common")
sub = register.PipelineServable("piped", "sub_common", 0)
both = register.PipelineServable(servable_name="piped", method="batched", version_number=1)


@register.register_pipeline(output_names=["y"])
def predict(x1, x2):
    y = add.run(x1, x2)
    for _ in range(3):
        y = add.run(y, x2)
    if (y < 0).any():
        raise ValueError("negative result")
    return y


@register.register_pipeline(output_names=["y1", "y2"])
def predict_both(x1, x2):
    return add.run(x1, x2), sub.run(x1, x2)


@register.register_pipeline(output_names=["y", "x1"])
def two_outputs(x1, x2):
    outputs = both.run(x1, x2)
    assert type(outputs) is tuple and len(outputs) == 2, outputs
    return outputs


@register.register_pipeline(output_names=["y"])
def many(x):
    pipeline = register.PipelineServable("piped", "argmax_of")
    outputs = pipeline.run([x, x * 2, x * 3])
    assert type(outputs) is list and all(type(each) is tuple and len(each) == 1 for each in outputs), outputs
    return np.array([each[0] for each in outputs])


@register.register_method(output_names=["y"])
def argmax_of(x):
    return register.add_stage("argmax_cpp", x, outputs_count=1)


@register.register_pipeline(output_names=["s", "i", "b", "f", "a"])
def kinds(s, i, b, f, a):
    return str(s), int(i), bool(b), float(f), a


@register.register_pipeline(output_names=["y"])
def wrong_count(x1, x2):
    return x1, x2


@register.register_pipeline(output_names=["y"])
def wrong_type(x1, x2):
    return object()


@register.register_pipeline(output_names=["y"])
def wrong_unpack(x1, x2):
    a, b, c = both.run(x1, x2)
    return a


@register.register_pipeline(output_names=["y"])
def wrong_arity(x1, x2):
    return add.run(x1)


@register.register_pipeline(output_names=["y"])
def fails_inside(x1, x2):
    try:
        return register.PipelineServable("piped", "single").run(x1, x2)
    except RuntimeError as error:
        return str(error)


@register.register_pipeline(output_names=["which"])
def sub_common(x1, x2):
    return "the pipeline"
"""


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The servables `older`, without pipelines, and `piped`, with them."""
    folder = tmp_path_factory.mktemp("generation_b")
    files = ["1/tensor_add.mindir", "1/tensor_sub.mindir"]
    add_servable(folder, "older", OLDER.format(options='{"input_format": "ND"}'), files)
    add_servable(folder, "piped", OLDER.format(options="None") + PIPELINES, files)
    configs = ['".", "older", device_ids=0', '".", "piped", 1']
    with serving(folder, configs, environment={"GLOG_v": "1"}) as running:
        yield running


def ask(server: RunningServer, target: str, *instances: dict[str, Any]) -> Any:
    servable, name = target.split(":")
    with Client(server.grpc, servable, name) as client:
        return client.infer(list(instances))


def same(got: Any, expected: Any) -> bool:
    return got.dtype == expected.dtype and got.shape == expected.shape and bool((got == expected).all())


INTS = SQUARE.astype(np.int32)


@pytest.mark.parametrize(
    ("name", "instances", "expected"),
    [
        row("3.2-call_servable", "older:add_common", [{"x1": SQUARE, "x2": ONES}], [SQUARE + 1]),
        row("3.2-call_servable-subgraph", "older:sub_common", [{"x1": SQUARE, "x2": ONES}], [SQUARE - 1]),
        row(
            "3.2-call_preprocess",
            "older:single",
            [{"x1": INTS * i, "x2": INTS} for i in range(5)],
            [SQUARE * (i + 1) + 1 for i in range(5)],
        ),
        row(
            "3.2-call_preprocess_pipeline",
            "older:batched",
            [{"x1": INTS * (i % 20), "x2": INTS} for i in range(40)],
            [SQUARE * (i % 20 + 1) + 1 for i in range(40)],
        ),
        row(
            "3.2-call_postprocess-built-in",
            "older:built_in",
            [{"x1": SQUARE, "x2": ONES}],
            [np.array(3, np.int64)],
        ),
    ],
)
def test_methods(older: RunningServer, name: str, instances: list[Any], expected: list[Any]) -> None:
    replies = ask(older, name, *instances)
    assert isinstance(replies, list), replies
    assert len(replies) == len(expected)
    for reply, value in zip(replies, expected, strict=True):
        assert same(reply["y"], value)


def failed(tag: str, name: str, index: int, text: str) -> str:
    return f"Call {tag} Failed, method: '{name}', stage index(begin with 1): {index}, error msg: {text}"


@pytest.mark.parametrize(
    ("name", "bad", "text"),
    [
        row(
            "3.2-text-preprocess-failed", "single", -INTS, failed("Preprocess", "single", 1, "negative input")
        ),
        row(
            "3.2-text-preprocess-failed-pipeline",
            "batched",
            -INTS,
            failed("Preprocess", "batched", 1, "negative input"),
        ),
        row(
            "3.2-text-postprocess-failed",
            "single",
            INTS * 1000,
            failed("Postprocess", "single", 3, "large output"),
        ),
    ],
)
def test_a_failed_stage(older: RunningServer, name: str, bad: Any, text: str) -> None:
    good = {"x1": INTS, "x2": INTS}
    with RawClient(older.grpc) as raw:
        message = request("older", name, [instance(x1=tensor(bad), x2=tensor(INTS))])
        assert errors(raw.predict(message)) == [(3, text)]
    first, second, third = ask(older, f"older:{name}", good, {"x1": bad, "x2": INTS}, good)
    assert second == {"error": text}
    assert same(first["y"], SQUARE * 2 + 1)
    assert same(third["y"], SQUARE * 2 + 1)


OUTPUTS = (
    "The outputs number {} of one instance returned by function 'older.{}' is not equal to the outputs number {}  "
    "registered in method {}"
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        row(
            "11.3-test_server_client-preprocess-outputs",
            "bad_pre",
            failed("Preprocess", "bad_pre", 1, OUTPUTS.format(1, "one_of_two", 2, "bad_pre")),
        ),
        row(
            "11.3-test_server_client-postprocess-outputs",
            "bad_post",
            failed("Postprocess", "bad_post", 2, OUTPUTS.format(2, "two_of_one", 1, "bad_post")),
        ),
    ],
)
def test_wrong_number_of_outputs(older: RunningServer, name: str, text: str) -> None:
    assert ask(older, f"older:{name}", *[{"x1": SQUARE, "x2": ONES}] * 3) == {"error": text}


@stands_for("11.3-test_restful_request-all-fail")
def test_all_instances_fail_over_rest(older: RunningServer) -> None:
    bad = {"x1": (-SQUARE).tolist(), "x2": ONES.tolist()}
    reply = post(older.rest, "/model/older:single", {"instances": [bad] * 3})
    assert (reply.status, reply.error) == (500, failed("Preprocess", "single", 1, "negative input"))


DEPRECATED = (
    r"'{}' is deprecated from version \S+ and will be removed in a future version, use '\S+' instead\."
)


@pytest.mark.parametrize(
    "name",
    [
        row(f"0-deprecated-{name}", name)
        for name in (
            "declare_servable",
            "call_servable",
            "call_preprocess",
            "call_preprocess_pipeline",
            "call_postprocess",
            "call_postprocess_pipeline",
        )
    ],
)
def test_older_names_are_deprecated(older: RunningServer, name: str) -> None:
    log = (older.folder / "serving_logs" / "log_older_device0_version1.log").read_text()
    lines = [line for line in log.splitlines() if re.search(DEPRECATED.format(name), line)]
    assert lines
    assert all(line.startswith("[WARNING] SERVING(") for line in lines)


# --- Pipelines ---


@stands_for("3.2-pipeline")
def test_pipeline(older: RunningServer) -> None:
    replies = ask(older, "piped:predict", *({"x1": SQUARE * i, "x2": ONES} for i in range(5)))
    assert len(replies) == 5
    assert all(same(reply["y"], SQUARE * i + 4) for i, reply in enumerate(replies))


@stands_for("3.2-pipeline-rest")
def test_pipeline_over_rest(older: RunningServer) -> None:
    body = {"instances": [{"x1": SQUARE.tolist(), "x2": ONES.tolist()}]}
    reply = post(older.rest, "/model/piped:predict", body)
    assert (reply.status, reply.text) == (200, '{"instances":[{"y":[[5.0,6.0],[7.0,8.0]]}]}')


@stands_for("3.2-pipeline-two-outputs")
def test_pipeline_of_two_outputs(older: RunningServer) -> None:
    [reply] = ask(older, "piped:predict_both", {"x1": SQUARE, "x2": ONES})
    assert same(reply["y1"], SQUARE + 1)
    assert same(reply["y2"], SQUARE - 1)


@stands_for("3.2-run-several-outputs")
def test_run_of_a_method_with_two_outputs(older: RunningServer) -> None:
    [reply] = ask(older, "piped:two_outputs", {"x1": INTS, "x2": INTS})
    assert same(reply["y"], SQUARE * 2 + 1)
    assert same(reply["x1"], INTS)


@stands_for("3.2-run-batch")
def test_run_with_a_list(older: RunningServer) -> None:
    [reply] = ask(older, "piped:many", {"x": np.array([1, 5, 2], np.float32)})
    assert reply["y"].tolist() == [1, 1, 1]


@stands_for("3.2-pipeline-kinds")
def test_pipeline_with_values_of_every_kind(older: RunningServer) -> None:
    [reply] = ask(older, "piped:kinds", {"s": "text", "i": 7, "b": True, "f": 1.5, "a": SQUARE})
    assert reply["s"] == "text"
    assert [reply[name].item() for name in "ibf"] == [7, True, 1.5]
    assert same(reply["a"], SQUARE)


@stands_for("3.2-pipeline-visibility")
def test_methods_beside_pipelines(older: RunningServer) -> None:
    """A departure: the original hides them. Where names clash, the pipeline is there."""
    [reply] = ask(older, "piped:add_common", {"x1": SQUARE, "x2": ONES})
    assert same(reply["y"], SQUARE + 1)
    assert ask(older, "piped:sub_common", {"x1": SQUARE, "x2": ONES}) == [{"which": "the pipeline"}]


@stands_for("3.2-pipeline-missing-input")
def test_missing_input_of_a_pipeline(older: RunningServer) -> None:
    good = {"x1": SQUARE, "x2": ONES}
    assert ask(older, "piped:predict", good, {"x1": SQUARE}, good) == {
        "error": "Cannot find input x2 in instance input , servable piped, method predict"
    }


@pytest.mark.parametrize(
    ("name", "part"),
    [
        row("3.2-pipeline-error-exception", "predict", "negative result"),
        row("3.2-pipeline-error-outputs-count", "wrong_count", "2"),
        row("3.2-pipeline-error-type", "wrong_type", "<class 'object'>"),
        row("3.2-pipeline-error-unpack", "wrong_unpack", "not enough values to unpack (expected 3, got 2)"),
        row("3.2-pipeline-error-run-arity", "wrong_arity", "Run failed: "),
    ],
)
def test_error_of_a_pipeline(older: RunningServer, name: str, part: str) -> None:
    with RawClient(older.grpc) as raw:
        sign = -1 if name == "predict" else 1
        bad = instance(x1=tensor(sign * SQUARE * 10), x2=tensor(ONES))
        [(code, text)] = errors(raw.predict(request("piped", name, [bad])))
    assert code == 2
    assert "Pipeline Failed" in text
    assert part in text


@stands_for("3.2-pipeline-error-of-one-instance")
def test_error_of_one_instance_of_a_pipeline(older: RunningServer) -> None:
    good, bad = ({"x1": sign * SQUARE * 10, "x2": ONES} for sign in (1, -1))
    first, second, third = ask(older, "piped:predict", good, bad, good)
    assert same(first["y"], SQUARE * 10 + 4)
    assert same(third["y"], SQUARE * 10 + 4)
    assert list(second) == ["error"]
    assert "Pipeline Failed" in second["error"]
    assert "negative result" in second["error"]


@stands_for("3.2-run-failed")
def test_text_of_a_failed_run(older: RunningServer) -> None:
    text = failed("Preprocess", "single", 1, "negative input")
    assert ask(older, "piped:fails_inside", {"x1": -INTS, "x2": INTS}) == [{"y": f"Run failed: {text}"}]
