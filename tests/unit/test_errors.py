"""What is told of an exception."""

import pytest

from mindspore_serving.errors import LONGEST_TEXT, StageError, text_of, unexpected_failure


class WithoutText(Exception):
    """Raises when it is asked for its text."""

    def __init__(self, raised: BaseException) -> None:
        super().__init__()
        self.raised = raised

    def __str__(self) -> str:
        raise self.raised


class NamedKey(KeyError):
    def __str__(self) -> str:
        return "no such label"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("boom"), "boom"),
        (ValueError("  it is too small\n"), "  it is too small\n"),
        (StageError("Get illegal result data"), "Get illegal result data"),
        (SystemExit("no configuration"), "no configuration"),
        (AssertionError("x is 3"), "x is 3"),
        (IndexError("list index out of range"), "list index out of range"),
        (NamedKey("label"), "no such label"),
        (ValueError("形状不对"), "形状不对"),
        (MemoryError(), "MemoryError"),
        (AssertionError(), "AssertionError"),
        (StopIteration(), "StopIteration"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (SystemExit(), "SystemExit"),
        (Exception(" \n"), "Exception"),
        (KeyError(), "KeyError"),
        (KeyError("label"), "KeyError: 'label'"),
        (KeyError(3), "KeyError: 3"),
        (KeyError("a key with blanks"), "KeyError: 'a key with blanks'"),
        (SystemExit(2), "SystemExit: 2"),
        (StopIteration(3), "StopIteration: 3"),
        (OSError(13), "OSError: 13"),
        (IndexError("-1"), "IndexError: -1"),
        (ValueError("lone \udcff"), "lone ?"),
        *[
            (WithoutText(raised), "WithoutText")
            for raised in (ValueError(), SystemExit(), KeyboardInterrupt())
        ],
    ],
    ids=repr,
)
def test_the_text_of_an_exception_names_its_type_where_it_says_nothing_alone(
    error: BaseException, text: str
) -> None:
    assert text_of(error) == text


def test_the_text_of_an_exception_is_bounded() -> None:
    assert text_of(ValueError("x" * (LONGEST_TEXT + 5))) == "x" * LONGEST_TEXT + " ... (5 more characters)"


def test_an_error_of_serving_itself() -> None:
    try:
        raise KeyError("a")
    except KeyError as error:
        failure = unexpected_failure(error)
    assert (failure.status, failure.text) == (500, "Predict failed: KeyError('a')")
    assert "in test_an_error_of_serving_itself" in failure.trace


def test_the_traceback_of_an_error_of_serving_itself_is_bounded() -> None:
    trace = unexpected_failure(KeyError("x" * (2 * LONGEST_TEXT))).trace
    assert len(trace) < LONGEST_TEXT + 100
