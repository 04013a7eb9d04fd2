"""Servables that are written for several models in one call."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from mindspore_serving.errors import StartUpError
from mindspore_serving.serve.chain import ChainedModel, Variable, chain_source, chained_model

X = Variable("x0", "x", "float32", (13,))
Y = Variable("fc.tmp_1", "y", "float32", (-1, 2))
TEXT = Variable("t0", "t", "text", (1,))


def test_the_source() -> None:
    first = ChainedModel("a", (X, TEXT), (Y, Variable("z0", "z", "int64", ())))
    second = ChainedModel("b", (Variable("z0", "other", "int64", ()), Y), (X,))
    source = chain_source([first, second])
    compile(source, "servable_config.py", "exec")
    assert "def predict(x, t):" in source
    assert "y_0, z_0 = register.call('a', 'predict', x, t, outputs_count=2)" in source
    assert "x_1 = register.call('b', 'predict', z_0, y_0)" in source
    assert "'x': register.TensorSpec('float32', [13])" in source
    assert "'t': register.Text()" in source


def test_the_name_of_a_folder_is_no_code() -> None:
    name = 'a"""\nraise KeyboardInterrupt\n"""\\\''
    source = chain_source([ChainedModel(name, (X,), (X,)), ChainedModel("b", (X,), (Y,))])
    tree = ast.parse(source)
    assert [type(one) for one in tree.body] == [ast.Expr, ast.ImportFrom, ast.FunctionDef]
    assert f"register.call({name!r}, 'predict', x)" in source


def test_names_that_do_not_fit() -> None:
    with pytest.raises(StartUpError) as raised:
        chain_source([ChainedModel("a", (X,), (Y,)), ChainedModel("b", (X, Y), (Y,))])
    assert str(raised.value) == (
        "'a' and 'b' do not fit together: the inputs of 'b' are x (x0), y (fc.tmp_1), and the outputs of 'a' are "
        "y (fc.tmp_1); expected is an output of the same name for each input"
    )


def write(folder: Path, feed: str) -> Path:
    fetch = 'fetch_var { name: "f" alias_name: "y" fetch_type: 1 shape: 1 }'
    (folder / "serving_server_conf.prototxt").write_text(feed + fetch)
    return folder


def test_what_a_folder_says(tmp_path: Path) -> None:
    feed = 'feed_var { name: "n" alias_name: "x" feed_type: 0 shape: -1 shape: 3 }\n'
    found = chained_model("m", write(tmp_path, feed))
    assert found == ChainedModel(
        "m", (Variable("n", "x", "int64", (-1, 3)),), (Variable("f", "y", "float32", (1,)),)
    )


@pytest.mark.parametrize(
    ("feed", "text"),
    [
        ('feed_var { name: "n" alias_name: "x" feed_type: 6 }', "'x' with type 6, which is not supported"),
        ('feed_var { name: "a.b" feed_type: 1 }', "'a.b' with a name that is no Python name"),
        ('feed_var { name: "class" feed_type: 1 }', "'class' with a name that is no Python name"),
        ('feed_var { name: "register" feed_type: 1 }', "'register' with a name that is no Python name"),
        (
            'feed_var { name: "a" feed_type: 1 } feed_var { name: "b" alias_name: "a" feed_type: 1 }',
            "names a, a,",
        ),
        ('feed_var { name: "a" feed_type: 1 } fetch_var { name: "y" fetch_type: 1 }', "names y, y,"),
        ("feed_var {", "cannot be read"),
        ("a { " * 5000, "cannot be read"),
    ],
)
def test_what_cannot_be_chained(tmp_path: Path, feed: str, text: str) -> None:
    with pytest.raises(StartUpError) as raised:
        chained_model("m", write(tmp_path, feed))
    assert text in str(raised.value)
    with pytest.raises(StartUpError, match="a chain of models needs the names in it"):
        chained_model("m", tmp_path / "nowhere")
