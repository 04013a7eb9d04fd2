"""What is left of an error's text for clients."""

from __future__ import annotations

import pytest

from mindspore_serving.errors import (
    LONGEST_TEXT,
    Failure,
    InvalidInput,
    ModelError,
    PipelineError,
    StageError,
    StatusCode,
    shortened,
)
from mindspore_serving.server.service.error_text import (
    MOST_SEARCHED,
    MOST_TOLD,
    hidden,
    text_for_client,
    texts_for_client,
)

RULE = "-" * 52


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("No such file: '/home/u/models/x.npy'", "No such file: 'x.npy'"),
        ('No such file: "/home/u/my models/x.npy"', 'No such file: "x.npy"'),
        ("cannot read /home/u/x.npy: bad", "cannot read x.npy: bad"),
        (r"cannot read /home/u/my\ models/x.npy", "cannot read x.npy"),
        ("/home/u/models/, /srv/x.", "models, x."),
        ("at /home/u/x.py:12", "at x.py:12"),
        ("~/models/x.npy ~bob/a/b ~/x", "x.npy b x"),
        (r"C:\Users\u\x.npy, D:/a/b.c", "x.npy, b.c"),
        (repr(r"C:\Users\u\my dir\x.npy"), "'x.npy'"),
        (r"on \\server\share\f.txt", "on f.txt"),
        ("dir=/opt/x/y;(/opt/z/w)[/a/b]", "dir=y;(w)[b]"),
        ("<module 'm' from '/usr/lib/m.so'>", "<module 'm' from 'm.so'>"),
        ("unix:///tmp/a/b file:///home/u/x", "unix:b file:x"),
        ("/usr/lib:/home/u/lib", "lib:lib"),
        ("it's /home/u/x, isn't it", "it's x, isn't it"),
        ("打开/home/u/模型/权重.ckpt", "打开权重.ckpt"),
        ("/model/weights.ckpt:12", "weights.ckpt:12"),
    ],
)
def test_paths_are_told_by_their_last_part(text: str, told: str) -> None:
    assert hidden(text) == told


@pytest.mark.parametrize(
    "text",
    [
        "negative input",
        "no such thing as 3/4, 1/2/3, image/png, */* or and/or",
        "see https://host.example:80/a/b/c?x=/d/e, please",
        "POST '/model/add:add_common', /version/3/model/add:f and /model/add/version/3:f",
        "./a/b, ../../c/d and models/x.npy",
        "/x and / and // and '/'",
        "</div></p>",
        r"\d+\n is no \\t",
        "two lines\n  of text\r\nand an end\n",
        "- a list\n- of things\n\n# with a title\n@ name",
        "",
    ],
)
def test_what_is_no_path_stays(text: str) -> None:
    assert hidden(text) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "error msg: Traceback (most recent call last):\n"
            '  File "/a/b.py", line 3, in f\n    g()\n    ^^^\nValueError: bad /a/b/c',
            "error msg:\nValueError: bad c",
        ),
        (
            'Traceback (most recent call last):\n  File "b.py", line 3\nKeyError: 1\n\nDuring handling of the above '
            "exception, another exception occurred:\n\nTraceback (most recent call last):\n"
            '  File "c.py", line 9, in h\n'
            "    h()\n  [Previous line repeated 99 more times]\nRecursionError: deep",
            "KeyError: 1\n\n\nRecursionError: deep",
        ),
        ('stack:\n  File "b.py", line 3, in f\n    g()\nthe end', "stack:\nthe end"),
        (
            f"wrong shape\n\n{RULE}\n- C++ Call Stack: (For framework developers)\n{RULE}\nmindspore/core/x.cc:67 Foo\n"
            "mindspore/core/y.cc:67 Bar\n",
            "wrong shape",
        ),
        (
            f"wrong\n\n{RULE}\n- The Traceback of Net Construct Code:\n{RULE}\n# 0 In file x.py:12\n        return x\n"
            f"{RULE}\n- Ascend Error Message:\n{RULE}\nE1: inner",
            f"wrong\n\n{RULE}\n- Ascend Error Message:\n{RULE}\nE1: inner",
        ),
        (
            "bad\nframe #0: c10::f (0x57abcdef in libc10.so)\n#1  0x00007f00 in main ()\n    @ 0x7f001234 run",
            "bad",
        ),
    ],
)
def test_stacks_are_left_out(text: str, told: str) -> None:
    assert hidden(text) == told


def test_what_the_client_did_wrong_is_told_as_it_is() -> None:
    text = "'/9j/4AAQ/SkZJRg' is illegal b64 encode string"
    assert text_for_client(InvalidInput(text).failure()) == text
    for error in (StageError(text), ModelError(text), PipelineError(text)):
        assert text_for_client(error.failure()) == "'SkZJRg' is illegal b64 encode string"


def test_a_long_text_says_how_much_is_missing() -> None:
    for error in (StageError, InvalidInput):
        assert text_for_client(error("x" * MOST_TOLD).failure()) == "x" * MOST_TOLD
        told = text_for_client(error("x" * 100_000).failure())
        assert told == "x" * MOST_TOLD + f" ... ({100_000 - MOST_TOLD} more characters)"
    assert shortened("x" * 20, 30) == "x" * 20


def test_no_text_and_text_that_cannot_be_encoded() -> None:
    assert text_for_client(Failure(StatusCode.FAILED, "")) == "Predict failed"
    assert text_for_client(Failure(StatusCode.FAILED, "a\udc80b")) == "a?b"


def test_many_long_texts_are_not_all_searched() -> None:
    count = 2 * MOST_SEARCHED // LONGEST_TEXT
    failures = [StageError(f"{i} " + "'/home/u/x' " * LONGEST_TEXT).failure() for i in range(count)]
    texts = texts_for_client([*failures, failures[0], StageError("short").failure()])
    assert texts[0].startswith("0 'x' 'x'")
    assert texts[-3].startswith(f"{count - 1} '...")
    assert texts[-2:] == [texts[0], "short"]
    assert not any("home" in text for text in texts)
