"""The options of Paddle Serving's server, and what each of them means here.

Those that mean nothing here are taken, so that old command lines work, and said in a line each.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

WORDS: Final = ("start", "stop", "kill", "check")
PORT: Final = 9393
PROGRAM: Final = "python -m mindspore_serving.serve"
_MEGABYTE: Final = 1 << 20
_MOST_MEGABYTES: Final = 512
_MOST_THREADS: Final = 1024

_PADDLE: Final = MappingProxyType(
    {
        "precision": "precision",
        "use_mkl": "use_mkldnn",
        "ir_optim": "ir_optim",
        "mem_optim_off": "mem_optim",
        "cpu_math_thread_num": "thread_num",
        "use_trt": "use_trt",
        "trt_workspace_size": "trt_workspace_size",
        "trt_use_static": "trt_use_static",
        "min_subgraph_size": "min_subgraph_size",
        "use_calib": "use_calib",
        "gpu_memory_mb": "gpu_memory_mb",
    }
)
"""Options that go to Paddle, and what `runtime_options` calls them."""
_MEANINGLESS: Final = MappingProxyType(
    {
        "op": "a chain is the order of --model here; ops of your own are stages in servable_config.py",
        "thread": "requests wait in a queue for a batch; --runtime_thread_num says how many copies compute",
        "device": "the device follows from --gpu_ids",
        "gpu_multi_stream": "each copy has a stream of its own",
        "use_lite": "there is no Paddle Lite here; MindSpore Lite runs .ms and .mindir files",
        "use_xpu": "Kunlun XPU is not supported",
        "use_ascend_cl": "MindIR runs on Ascend; Paddle models do not",
        "use_encryption_model": "keys are never sent over the network: see dec_key in the documentation",
        "encryption_rpc_port": "keys are never sent over the network: see dec_key in the documentation",
        "product_name": "there is no authentication with a vendor",
        "container_id": "there is no authentication with a vendor",
        "enable_prometheus": "statistics are at GET /v2/models/NAME/stats",
        "prometheus_port": "statistics are at GET /v2/models/NAME/stats",
        "request_cache_size": "there is no cache of replies",
        "use_dist_model": "models over several processes are for MindSpore, see start_distributed_servable",
        "dist_carrier_id": "see --use_dist_model",
        "dist_cfg_file": "see --use_dist_model",
        "dist_endpoints": "see --use_dist_model",
        "dist_nranks": "see --use_dist_model",
        "dist_subgraph_index": "see --use_dist_model",
        "dist_master_serving": "see --use_dist_model",
        "dist_worker_serving_endpoints": "see --use_dist_model",
    }
)
"""Options without a meaning here, and what there is instead."""
_FLAGS: Final = (
    "gpu_multi_stream",
    "use_lite",
    "use_xpu",
    "use_ascend_cl",
    "use_encryption_model",
    "enable_prometheus",
    "use_dist_model",
    "dist_master_serving",
)


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """How one model is run.

    Attributes:
        path: Its folder.
        copies: Worker processes that hold it.
        device_ids: GPUs; empty for CPU.
        max_batch_size: Most rows that are computed together; 0 for the default.
    """

    path: str
    copies: int
    device_ids: tuple[int, ...]
    max_batch_size: int


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """A command line.

    Attributes:
        word: One of `WORDS`.
        models: In the order of a chain.
        port: For HTTP and gRPC; None where `stop` or `kill` mean every server.
        max_msg_mb_size: Largest message, in MB.
        workdir: Where the servable of a chain is written.
        paddle: `runtime_options` of Paddle models.
        notes: Options that mean nothing here, each with a line that says so.
    """

    word: str
    models: tuple[ModelOptions, ...]
    port: int | None
    max_msg_mb_size: int
    workdir: str
    paddle: dict[str, str | float]
    notes: tuple[str, ...]


def read_options(arguments: Sequence[str]) -> ServeOptions:
    """Read a command line; ends the process with status 2 where it is wrong.

    Args:
        arguments: Without the name of the program.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.word == "start" and not given.model:
        parser.error("--model is missing: the folder of a model, as --model uci_housing_model")
    if given.thread is not None and not 4 <= given.thread <= _MOST_THREADS:
        parser.error(f"--thread should be from 4 to {_MOST_THREADS}, but is {given.thread}")
    port = given.port if given.port is not None or given.word in ("stop", "kill") else PORT
    if port is not None and not 0 < port < 1 << 16:
        parser.error(f"--port should be from 1 to 65535, but is {port}")
    size = given.max_body_size
    if size < 1:
        parser.error(f"--max_body_size should be a number of bytes above 0, but is {size}")
    return ServeOptions(
        word=given.word,
        models=_models(parser, given),
        port=port,
        max_msg_mb_size=min(_MOST_MEGABYTES, math.ceil(size / _MEGABYTE)),
        workdir=f"{given.workdir}_{port}",
        paddle=_paddle_options(given),
        notes=tuple(
            f"--{name} has no meaning here: {text}"
            for name, text in _MEANINGLESS.items()
            if getattr(given, name) not in (None, False)
        ),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} --model DIR [DIR ...] [--port PORT] [OPTION ...]\n"
        f"       {PROGRAM} {{stop,kill,check}} [--port PORT]",
        description="Serve models as paddle_serving_server.serve does: HTTP and gRPC on one port.",
        epilog="Other ways to start a server: mindspore-serving serve --help",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("word", nargs="?", choices=WORDS, default="start", help="what to do; start is the default")
    add("--model", nargs="+", metavar="DIR", help="folder of a model; several are a chain")
    add("--port", type=int, metavar="PORT", help=f"port for HTTP and gRPC, {PORT} by default")
    add("--runtime_thread_num", type=int, nargs="+", metavar="N", help="copies of each model")
    add("--batch_infer_size", type=int, nargs="+", metavar="N", help="most rows that are computed together")
    add("--gpu_ids", nargs="+", metavar="IDS", help="GPUs of each model, as 0,1")
    add(
        "--max_body_size",
        type=int,
        metavar="BYTES",
        default=_MOST_MEGABYTES * _MEGABYTE,
        help="the largest message",
    )
    add(
        "--workdir",
        metavar="DIR",
        default="workdir",
        help="where a chain is written, with the port behind it",
    )
    paddle = parser.add_argument_group("how Paddle computes")
    paddle.add_argument("--precision", choices=("fp32", "fp16", "bf16", "int8"))
    paddle.add_argument("--cpu_math_thread_num", type=int, metavar="N", help="threads of one copy")
    for name in ("use_mkl", "ir_optim", "mem_optim_off", "use_trt", "trt_use_static", "use_calib"):
        paddle.add_argument(f"--{name}", action="store_true")
    for name in ("trt_workspace_size", "min_subgraph_size", "gpu_memory_mb"):
        paddle.add_argument(f"--{name}", type=int, metavar="N")
    nothing = parser.add_argument_group("without a meaning here", "each is said in a line when it is given")
    for name in _MEANINGLESS:
        if name in _FLAGS:
            nothing.add_argument(f"--{name}", action="store_true")
        elif name == "thread":
            nothing.add_argument("--thread", type=int, metavar="N")
        else:
            nothing.add_argument(f"--{name}", nargs="+", metavar="X")
    return parser


def _models(parser: argparse.ArgumentParser, given: argparse.Namespace) -> tuple[ModelOptions, ...]:
    """How each model is run; an option with one value is for all of them."""
    paths = given.model or []
    copies = _of_each(parser, "runtime_thread_num", given.runtime_thread_num, 0, paths)
    sizes = _of_each(parser, "batch_infer_size", given.batch_infer_size, 0, paths)
    devices = _of_each(parser, "gpu_ids", given.gpu_ids, "", paths)
    for name, values in (("runtime_thread_num", copies), ("batch_infer_size", sizes)):
        if min(values, default=0) < 0:
            parser.error(f"--{name} should not be negative, but is {min(values)}")
    return tuple(
        ModelOptions(path, max(1, copy), _ids(parser, ids), size)
        for path, copy, ids, size in zip(paths, copies, devices, sizes, strict=True)
    )


def _of_each(
    parser: argparse.ArgumentParser, name: str, values: list[Any] | None, default: Any, paths: Sequence[str]
) -> list[Any]:
    if not values:
        return [default] * len(paths)
    if len(values) == 1:
        return values * len(paths)
    if len(values) != len(paths):
        parser.error(f"--{name} has {len(values)} values for {len(paths)} models, expected 1 or {len(paths)}")
    return values


def _ids(parser: argparse.ArgumentParser, text: str) -> tuple[int, ...]:
    ids = [one.strip() for one in text.split(",") if one.strip()]
    if not all(one.isascii() and one.isdigit() and len(one) < 4 for one in ids):
        if text.strip() in ("-1", ""):  # Paddle Serving has CPU so
            return ()
        parser.error(f"--gpu_ids should be numbers of GPUs, as 0,1, but is '{text}'")
    return tuple(int(one) for one in ids)


def _paddle_options(given: argparse.Namespace) -> dict[str, str | float]:
    found: dict[str, str | float] = {}
    for option, name in _PADDLE.items():
        value = getattr(given, option)
        if value is None or value is False:
            continue
        found[name] = False if option == "mem_optim_off" else value
    return found
