"""The life of the gRPC server: started and stopped again and again, ended under load, ended by a fault of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import Counter
from pathlib import Path

import grpc
import grpc.aio
import pytest

from mindspore_serving.proto import ms_service_pb2
from tests.server.health_checks import Checks
from tests.support.gated_server import gated_server
from tests.support.grpc_messages import PREDICT, array_of
from tests.support.holdings import holdings_of, wait_until_as_before
from tests.support.http2_frames import message
from tests.support.serving import free_port, running_script
from tests.support.watch import leftovers, wait_until

TURNS = 100
SETTLED = 20
UNDER_WAY = 500
CHANNELS = 5
PATIENCE_S = 60.0
END_S = 30.0

AGAIN = """\
from mindspore_serving import server

with open("turns") as turns:
    for turn in turns:
        server.start_grpc_server({address!r})
        print("up", turn, flush=True)
        turns.readline()
        server.stop()
        print("down", turn, flush=True)
"""


@pytest.mark.both_grpc_servers
def test_100_servers_of_one_process_leave_nothing(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    os.mkfifo(tmp_path / "turns")
    script = tmp_path / "start.py"
    script.write_text(AGAIN.format(address=address))
    with running_script(script) as running, (tmp_path / "turns").open("w") as turns:
        for turn in range(TURNS):
            print(turn, file=turns, flush=True)
            running.wait_for_line(f"up {turn}")
            with Checks(address) as checks:
                watch = checks.watch("")
                assert (checks.check(""), watch.next()) == ("NOT_SERVING", "NOT_SERVING")
                print("stop", file=turns, flush=True)
                assert watch.next() == "end"
            running.wait_for_line(f"down {turn}")
            if turn == SETTLED:
                settled = holdings_of(running.process.pid)
        wait_until_as_before(running.process.pid, settled, memory=20 << 20)
        turns.close()
        assert running.wait() == 0
        assert "Traceback" not in running.output


async def ask(channel: grpc.aio.Channel, value: int) -> str:
    """What became of a call of `gated`: `right`, or something else."""
    try:
        content = await channel.unary_unary(PREDICT)(message("gated", value)[5:], timeout=PATIENCE_S)
    except grpc.aio.AioRpcError as error:
        return f"{error.code().name}: {error.details()}"
    reply = ms_service_pb2.PredictReply.FromString(content)
    right = [int(array_of(one.items["y"])) for one in reply.instances] == [2 * value]
    return "right" if right else str(reply)


@pytest.mark.both_grpc_servers
def test_500_calls_under_way_are_answered_by_a_server_that_is_told_to_end(tmp_path: Path) -> None:
    async def run() -> None:
        async with contextlib.AsyncExitStack() as opened:
            options = [("grpc.use_local_subchannel_pool", 1)]
            channels = [
                await opened.enter_async_context(grpc.aio.insecure_channel(server.running.grpc, options))
                for _ in range(CHANNELS)
            ]
            calls = [asyncio.ensure_future(ask(channels[i % CHANNELS], i)) for i in range(UNDER_WAY)]
            held = await asyncio.to_thread(server.gate.hold)
            await asyncio.to_thread(wait_until, server.is_full, "all are admitted", PATIENCE_S)
            server.running.signal(signal.SIGTERM)
            await asyncio.to_thread(server.running.wait_for_line, "Serving: stopping")
            new = await opened.enter_async_context(grpc.aio.insecure_channel(server.running.grpc, options))
            refused = await asyncio.gather(
                *(ask(channel, 1) for channel in [*channels, new] for _ in range(10))
            )
            assert {text.partition(":")[0] for text in refused} == {"UNAVAILABLE"}
            server.gate.open()
            held.release()
            assert Counter(await asyncio.gather(*calls)) == {"right": UNDER_WAY}

    settings = "server.master.context.set_drain_timeout_s(60)\n"
    with gated_server(tmp_path, UNDER_WAY, settings=settings) as server:
        asyncio.run(run())
        assert server.running.wait(END_S) == 0
        assert leftovers(server.running) == []
        assert "Traceback" not in server.running.output


# The thread gets the exception at its next step in Python, as from a fault of its own.
END_POLLER = """\
import ctypes


def end_poller():
    with open("wish") as wish:
        wish.read()
    for thread in threading.enumerate():
        if thread.name.startswith("grpc-poller"):
            raised = ctypes.py_object({error})
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), raised)
            print("the poller is to end", flush=True)


threading.Thread(target=end_poller, daemon=True).start()
"""


@pytest.mark.parametrize("error", ["RuntimeError", "SystemExit"])
def test_a_server_whose_poller_has_failed_ends(tmp_path: Path, grpc_library: str, error: str) -> None:
    if grpc_library != "core":
        pytest.skip("grpc.aio has a poller of its own")
    os.mkfifo(tmp_path / "wish")
    with gated_server(tmp_path, 10, settings=END_POLLER.format(error=error)) as server:
        running = server.running
        workers = running.workers()
        assert server.ask("one", "twice") == 42
        (tmp_path / "wish").write_text("end")
        running.wait_for_line("the poller is to end")
        server.ask("one", "twice")  # a call lets the thread take a step
        assert running.wait(END_S) != 0
        assert "the gRPC server takes no more calls" in running.output.partition("the poller is to end")[2]
        wait_until(lambda: not set(workers) & set(running.workers()), "the workers are gone")
        assert leftovers(running) == []
