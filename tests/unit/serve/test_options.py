"""What the options of Paddle Serving's server mean here."""

from __future__ import annotations

import pytest

from mindspore_serving.serve.options import ModelOptions, read_options


def test_the_line_of_the_documents() -> None:
    found = read_options(["--model", "uci_housing_model", "--thread", "10", "--port", "9393"])
    assert found.models == (ModelOptions("uci_housing_model", 1, (), 0),)
    assert (found.word, found.port, found.max_msg_mb_size, found.workdir) == (
        "start",
        9393,
        512,
        "workdir_9393",
    )
    assert found.paddle == {}
    [note] = found.notes
    assert note.startswith("--thread has no meaning here")


def test_options_with_a_meaning() -> None:
    line = (
        "--model a b --runtime_thread_num 2 3 --batch_infer_size 8 --gpu_ids 0,1 -1 --max_body_size 1048577 "
        "--workdir w --precision bf16 --use_mkl --ir_optim --mem_optim_off --cpu_math_thread_num 4 --use_trt"
    )
    found = read_options(["start", *line.replace("-1 ", "").split()])
    assert found.models == (ModelOptions("a", 2, (0, 1), 8), ModelOptions("b", 3, (0, 1), 8))
    assert (found.max_msg_mb_size, found.workdir, found.notes) == (2, "w_9393", ())
    assert found.paddle == {
        "precision": "bf16",
        "use_mkldnn": True,
        "ir_optim": True,
        "mem_optim": False,
        "thread_num": 4,
        "use_trt": True,
    }


@pytest.mark.parametrize(
    "option",
    [
        "--op GeneralInferOp",
        "--device cpu",
        "--thread 4",
        "--use_lite",
        "--use_xpu",
        "--use_ascend_cl",
        "--gpu_multi_stream",
        "--use_encryption_model",
        "--encryption_rpc_port 12000",
        "--product_name p",
        "--container_id c",
        "--enable_prometheus",
        "--prometheus_port 19393",
        "--request_cache_size 10",
        "--use_dist_model",
        "--dist_endpoints a b",
        "--dist_nranks 2",
        "--dist_master_serving",
    ],
)
def test_options_without_a_meaning_say_so(option: str) -> None:
    [note] = read_options(["--model", "a", *option.split()]).notes
    assert note.startswith(f"{option.split()[0]} has no meaning here: ")
    assert "\n" not in note


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("", "--model is missing"),
        ("restart --model a", "invalid choice: 'restart'"),
        ("--model a --no_such", "unrecognized arguments: --no_such"),
        ("--model a --prec=fp32", "unrecognized arguments: --prec=fp32"),
        ("--model a --thread 3", "--thread should be from 4 to 1024, but is 3"),
        ("--model a --thread 1025", "--thread should be from 4 to 1024"),
        ("--model a --port 0", "--port should be from 1 to 65535, but is 0"),
        ("--model a --port 65536", "--port should be from 1 to 65535"),
        ("--model a --port x", "invalid int value"),
        ("--model a --precision fp8", "invalid choice: 'fp8'"),
        (
            "--model a b --runtime_thread_num 1 2 3",
            "--runtime_thread_num has 3 values for 2 models, expected 1 or 2",
        ),
        ("--model a --runtime_thread_num=-1", "--runtime_thread_num should not be negative"),
        ("--model a --batch_infer_size=-5", "--batch_infer_size should not be negative"),
        ("--model a --gpu_ids a", "--gpu_ids should be numbers of GPUs, as 0,1, but is 'a'"),
        ("--model a --max_body_size 0", "--max_body_size should be a number of bytes above 0"),
    ],
)
def test_what_is_wrong(line: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        read_options(line.split())
    assert raised.value.code == 2
    assert text in capsys.readouterr().err


def test_words() -> None:
    assert read_options(["stop"]).port is None
    assert read_options(["kill", "--port", "9000"]).port == 9000
    assert read_options(["check"]).port == 9393
    assert read_options(["--model", "a", "--gpu_ids=-1"]).models[0].device_ids == ()


def test_every_option_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        read_options(["--help"])
    assert raised.value.code == 0
    text = capsys.readouterr().out
    assert all(
        word in text for word in ("--request_cache_size", "--gpu_ids", "stop", "mindspore-serving serve")
    )
