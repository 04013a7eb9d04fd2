"""Ends of workers and their restarts, with fake processes in virtual time."""

from __future__ import annotations

import asyncio
import itertools
import os

import numpy as np
import pytest

from mindspore_serving.rows import FailedRows
from mindspore_serving.server.channel.memory import SharedMemory
from mindspore_serving.server.channel.messages import Exiting, StartFailed
from mindspore_serving.server.channel.worker_plan import AgentsPlan
from mindspore_serving.server.host.settings import memory_idle_s
from mindspore_serving.server.supervision.reaper import STOP_GRACE_S
from mindspore_serving.server.supervision.restart_policy import GIVEN_UP_S, MOST_ENDS, STEADY_S
from tests.support.plans import worker_plan
from tests.support.rows import numbered, rows_of
from tests.support.virtual_time import run_in_virtual_time
from tests.unit.supervision.fake_children import FakeChild
from tests.unit.supervision.supervised import Supervised, ready


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVING_WORKER_TIMEOUT_S", "20")
    monkeypatch.setenv("SERVING_START_TIMEOUT_S", "30")
    monkeypatch.setenv("SERVING_SUSPECT_WAIT_S", "0")


async def restart_delays(scene: Supervised, deaths: int, serve_s: float = 0.0) -> list[float]:
    """Let the only worker die again and again; returns the seconds from each end to the next start."""
    delays = []
    for _ in range(deaths):
        await scene.serve_from_all()
        await asyncio.sleep(serve_s)
        [child] = scene.living()
        count, ended = len(scene.children.starts), scene.loop.time()
        child.end(1)
        await asyncio.sleep(40)
        [start] = scene.children.starts[count:]
        delays.append(start - ended)
    return delays


def test_a_worker_that_has_served_is_started_again_and_only_once(log_lines: list[str]) -> None:
    async def test() -> None:
        scene = Supervised()
        [first] = await scene.start()
        await scene.serve_from_all()
        first.end(1)
        await scene.settle()
        assert scene.states() == ["dead"]
        await asyncio.sleep(100)
        assert len(scene.children.started) == 2
        assert scene.states() == ["ready"]
        assert first.did == ["kill group", "release"]
        assert await scene.answers_from(scene.children.started[1])
        assert scene.children.started[1].number == 0
        shown = scene.service.statistics.server().versions[0]
        [copy], [end] = shown.copies, shown.last_restarts
        assert (copy.pid, copy.restarts, copy.state) == (scene.children.started[1].pid, 1, "ready")
        assert (end.worker, end.reason) == ("servable one version 1 device0", "ended with status 1")
        label = "servable one version 1 device0"
        assert log_lines == [
            f"WARNING Worker of {label} ended with status 1, last lines of {first.log_path}:\n"
            f"last line of {first.pid}",
            f"WARNING {label} was started again",
        ]
        assert not scene.all_gone
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_the_pause_before_a_restart_becomes_longer() -> None:
    async def test() -> None:
        scene = Supervised()
        await scene.start()
        assert await restart_delays(scene, 7) == pytest.approx([1, 2, 4, 8, 16, 30, 30], abs=0.1)
        assert await restart_delays(scene, 2, STEADY_S) == pytest.approx([1, 1], abs=0.1)
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_a_worker_that_dies_before_it_has_served_is_given_up(log_lines: list[str]) -> None:
    async def test() -> None:
        scene = Supervised()
        child, _ = await scene.start(worker_plan(), worker_plan("two"))
        child.end(1)
        await asyncio.sleep(GIVEN_UP_S * 3)
        assert len(scene.children.started) == 2
        assert scene.states() == ["failed", "ready"]
        assert (
            "ERROR servable one version 1 device0 died before it served anything; it is not started again"
            in (log_lines)
        )
        assert not scene.all_gone
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_one_that_dies_over_its_first_batch_is_started_again() -> None:
    async def test() -> None:
        scene = Supervised()
        [child] = await scene.start()
        request = scene.ask()
        await scene.settle()
        child.end(1)
        await asyncio.sleep(2)
        again = scene.children.started[1]
        again.answer(again.batches[0])
        [rows] = await request
        assert not isinstance(rows, FailedRows)
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_what_it_has_served_before_a_restart_counts() -> None:
    async def test() -> None:
        scene = Supervised()
        [child] = await scene.start()
        await scene.serve_from_all()
        for count in (2, 3):
            child.end(1)
            await asyncio.sleep(10)
            assert len(scene.children.started) == count
            child = scene.children.started[-1]
        await scene.supervisor.stop()

    run_in_virtual_time(test())


async def die(scene: Supervised, number: int, wait_s: float) -> None:
    """Let the process of a worker die, and wait."""
    [child] = [child for child in scene.living() if child.number == number]
    child.end(1)
    await asyncio.sleep(wait_s)


def test_workers_that_die_too_often_are_given_up_together(log_lines: list[str]) -> None:
    async def test() -> None:
        scene = Supervised()
        await scene.start(worker_plan(), worker_plan(device_id=1), worker_plan("two"))
        await scene.serve_from_all()
        for number, wait_s in ((0, 1.5), (0, 2.5), (0, 0.5), (1, 1.5)):
            await die(scene, number, wait_s)
        assert scene.states() == ["dead", "ready", "ready"]  # the first one is to be started again in 2 s
        await die(scene, 1, 0.1)
        assert scene.states() == ["failed", "failed", "ready"]
        await asyncio.sleep(3 * GIVEN_UP_S)
        assert [child.plan.servable_name for child in scene.living()] == ["two"]
        [given_up] = [line for line in log_lines if "have died within 60 s" in line]
        assert f"ERROR {MOST_ENDS} workers of servable one version 1 have died" in given_up
        assert given_up.count("ended with status 1") == MOST_ENDS
        assert sum("too many workers of its servable have died" in line for line in log_lines) == 2
        assert not scene.all_gone
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_a_worker_that_was_given_up_is_tried_again_while_another_serves(log_lines: list[str]) -> None:
    async def test() -> None:
        scene = Supervised()
        first, second = await scene.start(worker_plan(), worker_plan(device_id=1))
        await scene.serve_from_all()
        scene.children.on_start = lambda child: child.fail("broken")
        first.end(1)
        await asyncio.sleep(10)
        assert scene.states() == ["failed", "ready"]
        assert scene.health()[0].reason == "no worker: cannot be started again: broken"
        failed_at = scene.children.starts[-1]
        await asyncio.sleep(2.5 * GIVEN_UP_S)
        assert [at - failed_at for at in scene.children.starts[3:]] == pytest.approx(
            [GIVEN_UP_S, 2 * GIVEN_UP_S], abs=0.2
        )
        assert sum("<broken>" in line and "cannot be started again" in line for line in log_lines) == 3
        for child in scene.children.started[2:]:
            assert child.exit_status() is not None
        scene.children.on_start = lambda child: child.end(1)
        await asyncio.sleep(GIVEN_UP_S)  # it dies without a word: that counts nowhere
        assert scene.states() == ["failed", "ready"]
        assert not any("too many" in line for line in log_lines)
        scene.children.on_start = ready
        await scene.service.catalog.changed.wait()
        assert scene.states() == ["ready", "ready"]
        assert second.exit_status() is None
        await die(scene, 0, 1.5)
        assert scene.states() == ["dead", "ready"]  # for 2 s: this is its second end that counts
        await asyncio.sleep(1)
        assert scene.states() == ["ready", "ready"]
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_a_worker_that_was_given_up_is_not_tried_while_none_serves() -> None:
    async def test() -> None:
        scene = Supervised()
        first, second = await scene.start(worker_plan(), worker_plan(device_id=1))
        first.end(1)
        await asyncio.sleep(10)
        second.leave()
        await asyncio.sleep(5 * GIVEN_UP_S)
        assert len(scene.children.started) == 2
        assert scene.states() == ["failed", "exited"]
        assert len(scene.all_gone) == 1
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_a_restart_that_takes_too_long_is_given_up(log_lines: list[str]) -> None:
    async def test() -> None:
        scene = Supervised()
        [first] = await scene.start()
        await scene.serve_from_all()

        def start(child: FakeChild) -> None:
            child.busy = True

        scene.children.on_start = start
        first.end(1)
        await asyncio.sleep(29)
        assert scene.states() == ["starting"]
        await asyncio.sleep(5)
        assert scene.states() == ["failed"]
        late = scene.children.started[1]
        assert late.did == ["kill", "kill group", "release"]
        assert (
            "ERROR servable one version 1 device0 cannot be started again: it was not ready after 30 s"
            in log_lines
        )
        assert len(scene.all_gone) == 1
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_a_restart_that_fails_and_does_not_end_is_killed() -> None:
    async def test() -> None:
        scene = Supervised()
        [first] = await scene.start()
        await scene.serve_from_all()
        scene.children.on_start = lambda child: child.send(StartFailed(child.number, "broken"))
        first.end(1)
        await asyncio.sleep(STOP_GRACE_S + 2)
        assert scene.children.started[1].did == ["kill", "kill group", "release"]
        assert len(scene.all_gone) == 1
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_a_channel_that_a_forked_child_holds_is_closed() -> None:
    async def test() -> None:
        scene = Supervised()
        [first] = await scene.start()
        await scene.serve_from_all()
        first.silent = True
        first.end(1, channel_stays=True)
        await asyncio.sleep(5)
        assert first.was_hung_up_on
        assert scene.states() == ["ready"]
        await scene.supervisor.stop()

    run_in_virtual_time(test())


@pytest.mark.parametrize("turns", range(12))
def test_a_stop_at_the_moment_of_a_restart_ends_the_worker(turns: int) -> None:
    async def test() -> None:
        scene = Supervised()
        [child] = await scene.start()
        await scene.serve_from_all()
        scene.children.on_start = lambda child: None
        child.end(1)
        await asyncio.sleep(2)
        [again] = scene.living()
        again.register()
        for _ in range(turns):
            await asyncio.sleep(0)
        await scene.supervisor.stop()
        assert scene.living() == []
        assert scene.loop.time() < 2 + STOP_GRACE_S

    run_in_virtual_time(test())


def test_shared_memory_goes_back_when_no_batch_has_needed_it_for_a_while() -> None:
    async def test() -> None:
        scene = Supervised()
        plan = worker_plan()
        memory = scene.children.memory = SharedMemory.create(plan.slots)
        [child] = await scene.start(plan)
        request = scene.ask(rows_of(x=np.zeros((1, 1 << 20), np.float32)))
        await scene.settle()
        child.answer(child.batches[0], (numbered(1),))
        await request
        assert os.fstat(memory.fd).st_blocks > 0
        await asyncio.sleep(memory_idle_s() + 5)
        assert os.fstat(memory.fd).st_blocks == 0
        await scene.supervisor.stop()
        memory.close()

    run_in_virtual_time(test())


def test_a_restart_that_dies_without_a_word_is_tried_again(log_lines: list[str]) -> None:
    async def test() -> None:
        scene = Supervised()
        [first] = await scene.start()
        await scene.serve_from_all()
        scene.children.on_start = lambda child: child.end(7)
        first.end(1)
        await asyncio.sleep(2)
        scene.children.on_start = ready
        assert any("has not come back: " in line and "ended with status 7" in line for line in log_lines)
        await asyncio.sleep(10)
        assert scene.states() == ["ready"]
        starts = scene.children.starts
        assert [starts[1], starts[2] - starts[1]] == pytest.approx([1, 2], abs=0.2)
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_a_shortage_is_no_death(log_lines: list[str]) -> None:
    async def test() -> None:
        scene = Supervised()
        [first] = await scene.start()
        await scene.serve_from_all()
        scene.children.shortage = True
        first.end(1)
        await asyncio.sleep(500)
        starts = scene.children.starts[1:]
        pauses = [after - before for before, after in itertools.pairwise(starts)]
        assert pauses[:6] == pytest.approx([2, 4, 8, 16, 30, 30], abs=0.1)
        assert scene.states() == ["dead"]
        assert scene.health()[0].reason == "no worker: could not be started: [Errno 24] none left"
        assert "could not be started, which is tried again in 2 s" in log_lines[1]
        assert not any("too many" in line for line in log_lines)
        scene.children.shortage = False
        await asyncio.sleep(40)
        assert scene.states() == ["ready"]
        assert not scene.all_gone
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_a_worker_that_hangs_is_killed_and_replaced(log_lines: list[str]) -> None:
    async def test() -> None:
        scene = Supervised()
        [first] = await scene.start()
        await scene.serve_from_all()
        await asyncio.sleep(1000)
        silent_since = scene.loop.time()
        first.silent = True
        request = scene.ask()
        await scene.settle()
        first.before_kill = lambda: first.answer(
            first.batches[-1]
        )  # too late: the instance is another's by now
        await asyncio.sleep(20)
        assert first.exit_status() is None
        assert scene.health()[0].silent_s == pytest.approx(20, abs=1.1)
        await asyncio.sleep(3)
        assert first.did[0] == "kill"
        assert f"ERROR Recv Pong Time Out from {first.address}, servable one version 1 device0 is killed" in (
            log_lines
        )
        assert any("showed no sign of life for 20 s and was killed" in line for line in log_lines)
        assert scene.loop.time() - silent_since < 24
        await asyncio.sleep(3)
        second = scene.children.started[1]
        second.answer(second.batches[0])
        [rows] = await request
        assert not isinstance(rows, FailedRows)
        assert not any("is closed" in line for line in log_lines)
        await asyncio.sleep(100)
        assert len(scene.children.started) == 2
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_results_are_signs_of_life_too() -> None:
    async def test() -> None:
        scene = Supervised()
        scene.children.on_start = lambda child: child.register()
        [child] = await scene.start()
        for _ in range(100):
            request = scene.ask()
            await asyncio.sleep(10)
            child.answer(child.batches[-1])
            await request
        assert child.exit_status() is None
        await scene.supervisor.stop()

    run_in_virtual_time(test())


@pytest.mark.parametrize("dies", ["at once", "later", "never"])
def test_a_worker_that_says_that_it_ends_is_not_started_again(dies: str, log_lines: list[str]) -> None:
    async def test() -> None:
        scene = Supervised()
        leaves, stays = await scene.start(worker_plan(), worker_plan(device_id=1))
        await scene.serve_from_all()
        leaves.busy = True
        leaves.send(Exiting())
        await scene.settle()
        assert leaves.was_hung_up_on
        assert len(scene.dispatcher.servable("one", 1).copies) == 1
        if dies == "at once":
            leaves.end(0)
        await scene.settle()
        assert scene.states() == ["exited", "ready"]
        assert await scene.answers_from(stays)
        if dies == "later":
            leaves.end(0)
        await asyncio.sleep(2 * GIVEN_UP_S)
        assert ("kill" in leaves.did) is (dies == "never")
        killed = f"closed its channel, did not end within {STOP_GRACE_S:g} s and was killed"
        assert any(killed in line for line in log_lines) is (dies == "never")
        assert len(scene.children.started) == 2
        assert scene.states() == ["exited", "ready"]
        assert not scene.all_gone
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_a_worker_that_closes_its_channel_but_lives_is_killed() -> None:
    async def test() -> None:
        scene = Supervised()
        [first] = await scene.start()
        await scene.serve_from_all()
        first.hang_up()
        await scene.settle()
        assert scene.states() == ["lost"]
        assert not scene.dispatcher.servable("one", 1).copies
        await asyncio.sleep(STOP_GRACE_S - 1)
        assert first.exit_status() is None
        await asyncio.sleep(2)
        assert first.did[0] == "kill"
        await asyncio.sleep(2)
        assert scene.states() == ["ready"]
        await scene.supervisor.stop()

    run_in_virtual_time(test())


@pytest.mark.parametrize("heeds", [True, False])
def test_a_call_that_takes_too_long_ends_its_worker(heeds: bool, log_lines: list[str]) -> None:
    async def test() -> None:
        scene = Supervised()
        [first] = await scene.start(worker_plan(stage_timeout_ms=2000))
        first.busy = not heeds
        request = scene.ask(numbered(1))
        await scene.settle()
        assert first.calls is not None
        first.calls.begin(0, int(scene.loop.time() * 1e9), b"it ran for too long", ())
        await asyncio.sleep(1.9)
        assert first.did == []
        await asyncio.sleep(1)
        assert first.did[0] == "traceback"
        assert any("has run for 2." in line and "it ran for too long" in line for line in log_lines)
        await asyncio.sleep(STOP_GRACE_S + 2)
        assert ("kill" in first.did) is not heeds
        assert any("was ended over a call that took too long" in line for line in log_lines)
        assert scene.states() == ["ready"]  # although it had served nothing
        [failed] = await request
        assert isinstance(failed, FailedRows)
        assert failed.failure.text == "it ran for too long"
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_ends_over_calls_count_for_nothing() -> None:
    async def test() -> None:
        scene = Supervised()
        await scene.start(worker_plan(stage_timeout_ms=1000))
        for count in range(2, 2 * MOST_ENDS):
            child = scene.children.started[-1]
            request = scene.ask()
            await scene.settle()
            assert child.calls is not None
            child.calls.begin(0, int(scene.loop.time() * 1e9), b"slow", ())
            await asyncio.sleep(4)
            assert len(scene.children.started) == count
            request.cancel()
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_an_end_over_a_call_excuses_none_before_it() -> None:
    async def test() -> None:
        scene = Supervised()
        await scene.start(worker_plan(stage_timeout_ms=1000))
        await scene.serve_from_all()
        for pause_s in (1, 2, 4, 8):
            await die(scene, 0, pause_s + 0.5)
        [child] = scene.living()
        assert child.calls is not None
        child.calls.begin(0, int(scene.loop.time() * 1e9), b"slow", ())
        await asyncio.sleep(15)
        await die(scene, 0, 0.1)  # the fifth that counts
        assert scene.states() == ["failed"]
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_calls_of_a_worker_that_is_gone_are_not_looked_at() -> None:
    async def test() -> None:
        scene = Supervised()
        first, _ = await scene.start(worker_plan(stage_timeout_ms=1000), worker_plan(device_id=1))
        await scene.serve_from_all()
        first.leave()
        await asyncio.sleep(10)  # a look at its calls now would find their memory closed
        assert scene.states() == ["exited", "ready"]
        await scene.supervisor.stop()

    run_in_virtual_time(test())


@pytest.mark.parametrize("end", ["dies", "leaves"])
def test_that_nobody_is_left_is_told_once(end: str) -> None:
    async def test() -> None:
        scene = Supervised()
        extra = worker_plan(has_device=False, remote_models=True)
        first, second, _ = await scene.start(worker_plan(), worker_plan(device_id=1), extra)
        for child in (first, second):
            assert not scene.all_gone
            if end == "dies":
                child.end(1)
            else:
                child.leave()
            await asyncio.sleep(10)
        assert len(scene.all_gone) == 1
        scene.living()[0].leave()
        await asyncio.sleep(5 * GIVEN_UP_S)
        assert len(scene.all_gone) == 1
        assert len(scene.children.started) == 3
        await scene.supervisor.stop()

    run_in_virtual_time(test())


@pytest.mark.parametrize("end", ["dies", "leaves"])
def test_an_end_while_extra_workers_start_is_noticed(end: str) -> None:
    async def test() -> None:
        scene = Supervised()

        def start(child: FakeChild) -> None:
            scene.loop.call_later(5 if child.plan.remote_models else 0, ready, child)

        scene.children.on_start = start
        extra = worker_plan(has_device=False, remote_models=True)
        starting = asyncio.ensure_future(scene.start(worker_plan(), extra))
        await asyncio.sleep(2)
        if end == "dies":
            scene.children.started[0].end(1)
        else:
            scene.children.started[0].leave()
        await starting
        await asyncio.sleep(1)
        assert scene.states() == ["failed" if end == "dies" else "exited", "ready"]
        assert "kill group" in scene.children.started[0].did
        assert len(scene.all_gone) == 1
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_a_worker_whose_agents_died_with_it_is_not_started_again(log_lines: list[str]) -> None:
    async def test() -> None:
        scene = Supervised()
        [child] = await scene.start(worker_plan(agents=AgentsPlan("table", "127.0.0.1:1", 0)))
        await scene.serve_from_all()
        request = scene.ask()
        await scene.settle()
        child.end(1)
        await scene.settle()
        [failed] = await request  # nobody waits for it
        assert isinstance(failed, FailedRows)
        await asyncio.sleep(5 * GIVEN_UP_S)
        assert len(scene.children.started) == 1
        assert (
            "ERROR servable one version 1 device0 died, and its agents with it; it is not started again"
            in (log_lines)
        )
        assert len(scene.all_gone) == 1
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_what_waits_for_a_worker_that_is_given_up_is_answered() -> None:
    async def test() -> None:
        scene = Supervised()
        [child] = await scene.start()
        await scene.serve_from_all()
        request = scene.ask()
        await scene.settle()
        scene.children.on_start = lambda child: child.fail("broken")
        child.end(1)
        await asyncio.sleep(0.5)
        assert not request.done()
        await asyncio.sleep(10)
        [failed] = await request
        assert isinstance(failed, FailedRows)
        await scene.supervisor.stop()

    run_in_virtual_time(test())


@pytest.mark.parametrize("has_served", [True, False])
def test_an_instance_that_ends_workers_is_to_blame_and_not_they(has_served: bool) -> None:
    """Each of three instances ends two workers: six ends, which would be too many (ADR 7)."""

    async def test() -> None:
        scene = Supervised()
        await scene.start()
        if has_served:
            await scene.serve_from_all()
        for _ in range(3):
            request = scene.ask()
            for _ in range(2):
                await scene.settle()
                [child] = scene.living()
                child.end(1)
                await asyncio.sleep(3)
            [failed] = await request
            assert isinstance(failed, FailedRows)
            assert "2 workers were lost" in failed.failure.text
            assert scene.states() == ["ready"]
        await scene.supervisor.stop()

    run_in_virtual_time(test())
