"""Starts and stops of workers, and what they send, with fake processes in virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from mindspore_serving.errors import InvalidParameter, StartUpError
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.channel.frames import frame_of
from mindspore_serving.server.channel.messages import (
    Exiting,
    HeldModels,
    ModelCall,
    ModelReply,
    MoveLog,
    Register,
    Result,
    StartFailed,
    Stop,
    WantModels,
)
from mindspore_serving.server.supervision.reaper import HURRIED_GRACE_S, STOP_GRACE_S
from mindspore_serving.server.supervision.worker_link import WorkerLink
from mindspore_serving.signature import MethodSignature, ModelInfo, call_method_name
from tests.support.plans import worker_plan
from tests.support.rows import numbered, numbers_in
from tests.support.virtual_time import run_in_virtual_time
from tests.unit.supervision.fake_children import METHOD, FakeChild
from tests.unit.supervision.supervised import Supervised, ready

MODEL = ModelInfo("model", ())
FIRST_CALL_SLOT = worker_plan().first_call_slot
MODEL_METHOD = MethodSignature(call_method_name("model", 0), ("x",), 8)


def in_time(delay_s: float) -> Any:
    """A process that is ready after a time."""
    return lambda child: asyncio.get_running_loop().call_later(delay_s, ready, child)


def test_workers_start_at_the_same_time() -> None:
    async def test() -> None:
        scene = Supervised()
        scene.children.on_start = in_time(7)
        children = await scene.start(*[worker_plan(device_id=number) for number in range(3)])
        assert scene.children.starts == [0, 0, 0]
        assert scene.loop.time() == pytest.approx(7, abs=0.1)
        assert [child.number for child in children] == [0, 1, 2]
        assert scene.states() == ["ready"] * 3
        ready_line = "Serving: Worker ready, servable: one, version: 1, device{} (cpu), 7.00 s, {} of 3"
        assert scene.said == [
            "Serving: Master server start success, listening on unix:socketpair",
            *[ready_line.format(number, number + 1) for number in range(3)],
        ]
        assert scene.children.did == ["open"]
        assert list(scene.supervisor.channels) == [child.channel_number for child in children]
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_who_waits_long_is_told_for_whom() -> None:
    async def test() -> None:
        scene = Supervised()
        scene.children.on_start = lambda child: in_time(40 if child.number else 1)(child)
        await scene.start(worker_plan(), worker_plan(device_id=1), worker_plan(device_id=2))
        waiting = "Serving: waiting for 2 workers, the first is servable one version 1 device1"
        assert scene.said[2:4] == [waiting, waiting]
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_a_wrong_time_limit_is_told_before_any_process_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVING_START_TIMEOUT_S", "0")

    async def test() -> None:
        with pytest.raises(InvalidParameter, match="SERVING_START_TIMEOUT_S"):
            Supervised()

    run_in_virtual_time(test())


def test_the_limit_of_a_start_is_that_of_the_start_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVING_START_TIMEOUT_S", "30")

    async def test() -> None:
        scene = Supervised()
        monkeypatch.setenv("SERVING_START_TIMEOUT_S", "wrong")
        [child] = await scene.start()
        await scene.serve_from_all()
        child.end(1)
        await asyncio.sleep(2)
        assert scene.states() == ["ready"]
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_one_that_fails_is_the_reason_and_all_are_ended() -> None:
    async def test() -> None:
        scene = Supervised()

        def start(child: FakeChild) -> None:
            if child.number == 1:
                child.fail("a broken file")
            elif child.number == 0:
                ready(child)

        scene.children.on_start = start
        with pytest.raises(StartUpError) as raised:
            await scene.start(*[worker_plan(device_id=number) for number in range(3)])
        reason = "{servable name:one, device id:1, <a broken file>}"
        log_path = scene.children.started[1].log_path
        assert str(raised.value) == f"Fail to start workers: {reason}, more in {log_path}"
        assert scene.states() == ["ready", "failed", "starting"]
        assert len(scene.supervisor.awaited()) == 2
        await scene.supervisor.stop()
        assert not scene.living()
        assert "SIGTERM" in scene.children.started[2].did
        assert [type(message) for message in scene.children.started[0].received] == [Stop]
        assert scene.supervisor.awaited() == scene.health() == []
        assert not scene.all_gone

    run_in_virtual_time(test())


def test_one_that_fails_without_a_reason_has_failed() -> None:
    async def test() -> None:
        scene = Supervised()
        scene.children.on_start = lambda child: child.fail("")
        with pytest.raises(StartUpError, match="<it gave no reason>"):
            await scene.start()
        assert scene.states() == ["failed"]
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_one_that_dies_in_its_first_start_is_the_reason() -> None:
    async def test() -> None:
        scene = Supervised()
        scene.children.on_start = lambda child: child.end(3)
        with pytest.raises(StartUpError) as raised:
            await scene.start()
        [child] = scene.children.started
        assert str(raised.value) == (
            "Fail to start workers because of death of one worker, servable one version 1 device0, "
            f"ended with status 3, last lines of {child.log_path}:\nlast line of {child.pid}"
        )
        assert scene.states() == ["failed"]
        assert child.did == ["kill group", "release"]
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_of_workers_that_fail_together_one_is_reported_and_none_is_forgotten() -> None:
    async def test() -> None:
        scene = Supervised()
        scene.children.on_start = lambda child: child.fail("broken")
        with pytest.raises(StartUpError, match="<broken>"):
            await scene.start(*[worker_plan(device_id=number) for number in range(4)])
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_a_start_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVING_START_TIMEOUT_S", "20")

    async def test() -> None:
        scene = Supervised()
        scene.children.on_start = lambda child: None if child.number else ready(child)
        with pytest.raises(StartUpError) as raised:
            await scene.start(worker_plan(), worker_plan(device_id=1))
        assert scene.loop.time() == pytest.approx(20, abs=0.1)
        assert str(raised.value).startswith(
            "Fail to start workers: servable one version 1 device1 not ready after 20 s. If servable_config.py"
        )
        assert f"last line of {scene.children.started[1].pid}" in str(raised.value)
        await scene.supervisor.stop()
        assert not scene.living()

    run_in_virtual_time(test())


def test_a_start_without_a_process() -> None:
    async def test() -> None:
        scene = Supervised()
        scene.children.shortage = True
        with pytest.raises(StartUpError, match="none left"):
            await scene.start()
        await scene.supervisor.stop()
        assert scene.children.did == ["open", "close"]

    run_in_virtual_time(test())


@pytest.mark.parametrize(
    ("method", "started"),
    [(METHOD, 3), (MethodSignature("m", ("x",), 8, only_models=True), 1)],
)
def test_extra_workers_start_after_the_others_and_only_if_they_have_something_to_do(
    method: MethodSignature, started: int
) -> None:
    async def test() -> None:
        scene = Supervised()
        scene.children.on_start = lambda child: scene.loop.call_later(5, child.register, method)
        extras = [worker_plan(device_id=number, has_device=False, remote_models=True) for number in range(2)]
        children = await scene.start(*extras, worker_plan())
        assert len(children) == started
        assert not children[0].plan.remote_models
        assert len({round(at) for at in scene.children.starts}) == (2 if started > 1 else 1)
        assert scene.said[-1].endswith(f"{started} of 3")
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_the_stop_tells_workers_and_waits_for_them() -> None:
    async def test() -> None:
        scene = Supervised()
        children = await scene.start(worker_plan(), worker_plan(device_id=1))
        await scene.supervisor.stop()
        for child in children:
            assert [type(message) for message in child.received] == [Stop]
            assert (child.exit_status(), child.did) == (0, ["kill group", "release"])
        assert scene.children.did == ["open", "close"]
        assert scene.health() == []
        assert scene.loop.time() < 1
        await scene.supervisor.stop()
        await asyncio.sleep(1000)
        assert (len(scene.children.started), scene.all_gone) == (2, [])

    run_in_virtual_time(test())


@pytest.mark.parametrize(
    ("hurried_after_s", "took_s"),
    [(None, STOP_GRACE_S), (0, HURRIED_GRACE_S), (0.5, HURRIED_GRACE_S), (3, 3)],
)
def test_a_worker_that_is_busy_is_killed_after_a_grace_time(
    hurried_after_s: float | None, took_s: float
) -> None:
    async def test() -> None:
        scene = Supervised()
        busy, idle = await scene.start(worker_plan(), worker_plan(device_id=1))
        busy.busy = True
        begun = scene.loop.time()
        if hurried_after_s is not None:
            scene.loop.call_later(hurried_after_s, scene.supervisor.hurry)
        stopping = asyncio.ensure_future(scene.supervisor.stop())
        await asyncio.sleep(min(took_s, 0.9))
        assert not stopping.done()
        assert scene.supervisor.awaited() == [f"servable one version 1 device0 (process {busy.pid})"]
        await stopping
        assert scene.loop.time() - begun == pytest.approx(took_s, abs=0.1)
        assert [type(message) for message in busy.received] == [Stop]
        assert busy.did == ["kill", "kill group", "release"]
        assert "kill" not in idle.did

    run_in_virtual_time(test())


def test_a_stop_ends_what_starts_again_too() -> None:
    async def test() -> None:
        scene = Supervised()
        [first] = await scene.start()
        await scene.serve_from_all()
        scene.children.on_start = lambda child: None
        first.end(1)
        await asyncio.sleep(10)
        assert scene.states() == ["starting"]
        [again] = scene.living()
        await scene.supervisor.stop()
        assert again.did[:2] == ["SIGTERM", "kill group"]
        await asyncio.sleep(1000)
        assert len(scene.children.started) == 2

    run_in_virtual_time(test())


def test_a_worker_is_started_while_others_serve() -> None:
    async def test() -> None:
        scene = Supervised()
        [first] = await scene.start()
        scene.children.on_start = in_time(3)
        adding = asyncio.ensure_future(scene.supervisor.add(worker_plan("two"), scene.said.append))
        await scene.settle()
        assert await scene.answers_from(first)
        number = await adding
        assert scene.said[-1].endswith("servable: two, version: 1, device0 (cpu), 3.00 s, 1 of 1")
        second = scene.children.started[1]
        assert (number, second.number) == (1, 1)
        answer = scene.ask(name="two")
        await scene.settle()
        second.answer(second.batches[0])
        await answer
        second.end(1)  # it is watched, too
        await asyncio.sleep(10)
        assert [child.number for child in scene.living()] == [0, 1]
        await scene.supervisor.stop()

    run_in_virtual_time(test())


@pytest.mark.parametrize("case", ["fails", "is cancelled"])
def test_a_worker_that_is_added_and_does_not_start_leaves_nothing(case: str) -> None:
    async def test() -> None:
        scene = Supervised()
        [first] = await scene.start()
        scene.children.on_start = lambda child: child.fail("broken") if case == "fails" else None
        adding = asyncio.ensure_future(scene.supervisor.add(worker_plan("two"), scene.said.append))
        await scene.settle()
        if case != "fails":
            adding.cancel()
        with pytest.raises((StartUpError, asyncio.CancelledError)):
            await adding
        assert scene.living() == [first]
        assert [worker.servable for worker in scene.health()] == ["one"]
        assert not scene.all_gone
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_a_worker_is_removed_while_others_serve() -> None:
    async def test() -> None:
        scene = Supervised()
        first, second = await scene.start(worker_plan(), worker_plan("two"))
        seen: list[list[str]] = []

        async def follow_health() -> None:
            while True:
                await scene.service.catalog.changed.wait()
                seen.append([one.label for one in scene.service.catalog.health().servables])

        following = asyncio.ensure_future(follow_health())
        await scene.supervisor.remove(0)
        await scene.supervisor.remove(0)
        await scene.settle()
        assert seen[-1] == ["two/1"]
        following.cancel()
        assert scene.living() == [second]
        assert [worker.servable for worker in scene.health()] == ["two"]
        assert first.did == ["kill group", "release"]
        await asyncio.sleep(1000)
        assert (len(scene.children.started), scene.all_gone) == (2, [])
        added = await scene.supervisor.add(worker_plan(), scene.said.append)
        assert added == 2  # a number is never used twice
        assert await scene.answers_from(scene.children.started[2])
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_workers_are_replaced_while_they_serve() -> None:
    async def test() -> None:
        scene = Supervised()
        [first] = await scene.start()
        scene.children.on_start = in_time(3)
        replacing = asyncio.ensure_future(
            scene.supervisor.replace(
                "one", [worker_plan(), worker_plan(device_id=1)], scene.said.append, one_at_a_time=False
            )
        )
        await asyncio.sleep(5)
        assert first in scene.living()
        assert await scene.answers_from(first)
        await replacing
        assert [child.number for child in scene.living()] == [1, 2]
        await scene.serve_from_all()
        assert scene.all_gone == []
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_a_replacement_that_cannot_start_leaves_what_serves() -> None:
    async def test() -> None:
        scene = Supervised()
        [first] = await scene.start()
        scene.children.on_start = lambda child: child.fail("broken") if child.number == 2 else ready(child)
        plans = [worker_plan(), worker_plan(device_id=1)]
        with pytest.raises(StartUpError, match="broken"):
            await scene.supervisor.replace("one", plans, scene.said.append, one_at_a_time=False)
        assert scene.living() == [first]
        assert await scene.answers_from(first)
        await scene.supervisor.stop()

    run_in_virtual_time(test())


@pytest.mark.parametrize("one_at_a_time", [True, False])
def test_workers_that_cannot_be_beside_others_follow_them(one_at_a_time: bool) -> None:
    async def test() -> None:
        scene = Supervised()
        [first] = await scene.start()
        living: list[bool] = []

        def start_other(child: FakeChild) -> None:
            living.append(first in scene.living())
            child.register(METHOD if one_at_a_time else replace(METHOD, input_names=("other",)))
            child.show_life()

        scene.children.on_start = start_other
        await scene.supervisor.replace("one", [worker_plan()], scene.said.append, one_at_a_time=one_at_a_time)
        assert living == ([False] if one_at_a_time else [True, False])
        assert any("has other methods now" in line for line in scene.said) is not one_at_a_time
        assert len(scene.living()) == 1
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_methods_that_are_gone_after_a_reload_are_offered_no_more() -> None:
    async def test() -> None:
        scene = Supervised()
        await scene.start()
        other = replace(METHOD, name="other")

        def start_other(child: FakeChild) -> None:
            child.register(other)
            child.show_life()

        scene.children.on_start = start_other
        await scene.supervisor.replace("one", [worker_plan()], scene.said.append, one_at_a_time=False)
        assert [method.name for method in scene.dispatcher.methods("one", 1)] == ["other"]
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_nobody_waits_for_a_worker_that_is_removed_while_it_is_dead() -> None:
    async def test() -> None:
        scene = Supervised()
        [child] = await scene.start()
        await scene.serve_from_all()
        request = scene.ask()
        await scene.settle()
        child.end(1)
        await scene.settle()
        assert not request.done()
        await scene.supervisor.remove(0)
        await scene.settle()
        [failed] = await request
        assert isinstance(failed, FailedRows)
        await asyncio.sleep(1000)
        assert len(scene.children.started) == 1
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_what_a_removed_worker_holds_goes_to_others() -> None:
    async def test() -> None:
        scene = Supervised()
        children = await scene.start(worker_plan(), worker_plan(device_id=1))
        request = scene.ask()
        await scene.settle()
        [held] = [child for child in children if child.batches]
        [other] = [child for child in children if not child.batches]
        await scene.supervisor.remove(held.number)
        await scene.settle()
        other.answer(other.batches[0])
        [rows] = await request
        assert not isinstance(rows, FailedRows)
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_results_go_to_the_requests_that_own_them() -> None:
    async def test() -> None:
        scene = Supervised()
        [child] = await scene.start()
        request = scene.ask(numbered(3, 5))
        await scene.settle()
        child.answer(child.batches[0])
        reply = await request
        assert numbers_in([rows for rows in reply if not isinstance(rows, FailedRows)]) == [5, 6, 7]
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_results_that_come_too_late_are_nobodys(log_lines: list[str]) -> None:
    async def test() -> None:
        scene = Supervised()
        [child] = await scene.start()
        request = scene.ask()
        await scene.settle()
        scene.dispatcher.fail_waiting()
        [failed] = await request
        assert isinstance(failed, FailedRows)
        child.answer(child.batches[0])
        await scene.settle()
        assert not child.was_hung_up_on
        assert log_lines == []
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def result(batch_id: int, count: int = 1) -> Result:
    return Result(batch_id, 0, 0, (numbered(count),), True)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ([result(0)], "answered batch 0, which is not under way"),
        ([Register(0, -1, ())], "process -1 is not worker 0"),
        ([Register(1, -1, ())], "worker 0 speaks for worker 1"),
        ([StartFailed(1, "x")], "worker 0 speaks for worker 1"),
        ([WantModels(1)], "worker 0 speaks for worker 1"),
        ([Stop()], "Stop"),
        ([ModelReply(0, 0, (numbered(1),))], "ModelReply"),
    ],
)
def test_a_worker_that_breaks_the_protocol_is_cut_off(
    sent: list[Any], reason: str, log_lines: list[str]
) -> None:
    async def test() -> None:
        scene = Supervised()
        child, other = await scene.start(worker_plan(), worker_plan(device_id=1))
        for message in sent:
            child.send(message)
        await scene.settle()
        assert child.was_hung_up_on
        assert not other.was_hung_up_on
        assert scene.states() == ["lost", "ready"]
        assert any("<WorkerLink of worker 0> is closed: " in line and reason in line for line in log_lines)
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_a_connection_that_is_not_the_workers_is_not_believed(log_lines: list[str]) -> None:
    """That of a process before, for example."""

    async def test() -> None:
        scene = Supervised()
        [child] = await scene.start()
        stale = WorkerLink(scene.supervisor, child.number)
        stale.data_received(frame_of(Exiting()))
        assert any("worker 0 has another connection, or is gone" in line for line in log_lines)
        stale.connection_lost(None)
        assert scene.states() == ["ready"]
        assert await scene.answers_from(child)
        await scene.supervisor.stop()

    run_in_virtual_time(test())


@pytest.mark.parametrize("early", ["result", "exit"])
def test_what_comes_before_a_worker_has_registered_breaks_the_protocol(early: str) -> None:
    async def test() -> None:
        scene = Supervised()
        scene.children.on_start = lambda child: child.send(result(0) if early == "result" else Exiting())
        starting = asyncio.ensure_future(scene.start())
        await scene.settle()
        assert scene.children.started[0].was_hung_up_on
        assert scene.states() == ["starting"]
        starting.cancel()
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_a_worker_that_registers_twice_is_cut_off() -> None:
    async def test() -> None:
        scene = Supervised()
        [child] = await scene.start()
        child.register()
        await scene.settle()
        assert child.was_hung_up_on
        assert len(scene.dispatcher.servable("one", 1).copies) == 0
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_a_worker_that_does_not_fit_the_others_fails_the_start() -> None:
    async def test() -> None:
        scene = Supervised()
        scene.children.on_start = lambda child: child.register(
            MethodSignature("m", ("y",) if child.number else ("x",), 8)
        )
        with pytest.raises(StartUpError, match="method m with inputs"):
            await scene.start(worker_plan(), worker_plan(device_id=1))
        await scene.supervisor.stop()

    run_in_virtual_time(test())


async def with_extra_worker(scene: Supervised) -> tuple[FakeChild, FakeChild]:
    """Start a worker with a model and one without."""

    def start(child: FakeChild) -> None:
        if child.plan.remote_models:
            child.send(WantModels(child.number))
            child.register()
        else:
            child.register(METHOD, MODEL_METHOD, models=(MODEL,))

    scene.children.on_start = start
    owner, extra = await scene.start(
        worker_plan(serves_calls=True), worker_plan(has_device=False, remote_models=True)
    )
    return owner, extra


def test_model_calls_of_extra_workers() -> None:
    async def test() -> None:
        scene = Supervised()
        owner, extra = await with_extra_worker(scene)
        assert extra.received == [HeldModels((MODEL,))]
        extra.send(ModelCall(7, FIRST_CALL_SLOT, MODEL_METHOD.name, (numbered(2, 3),)))
        await scene.settle()
        owner.answer(owner.batches[0])
        await scene.settle()
        reply = extra.received[-1]
        assert isinstance(reply, ModelReply)
        assert (reply.call_id, reply.slot) == (7, FIRST_CALL_SLOT)
        assert numbers_in([rows for rows in reply.groups if not isinstance(rows, FailedRows)]) == [3, 4]
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_a_model_call_of_a_worker_that_dies_is_given_up() -> None:
    async def test() -> None:
        scene = Supervised()
        owner, extra = await with_extra_worker(scene)
        for number in range(4):
            extra.send(ModelCall(number, FIRST_CALL_SLOT + number, MODEL_METHOD.name, (numbered(8),)))
        await scene.settle()
        sent = list(owner.batches)
        assert 0 < len(sent) < 4
        extra.end(1)
        await scene.settle()
        for batch in sent:
            owner.answer(batch)
        await scene.settle()
        assert owner.batches == sent  # the other calls are not run any more
        assert owner.exit_status() is None
        assert not any(isinstance(message, ModelReply) for message in extra.received)
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_a_model_that_nobody_holds_any_more() -> None:
    async def test() -> None:
        scene = Supervised()
        owner, extra = await with_extra_worker(scene)
        owner.leave()
        await scene.settle()
        extra.send(ModelCall(7, FIRST_CALL_SLOT, MODEL_METHOD.name, (numbered(2),)))
        await scene.settle()
        reply = extra.received[-1]
        assert isinstance(reply, ModelReply)
        [failed] = reply.groups
        assert isinstance(failed, FailedRows)
        assert (failed.count, "no available inference processes" in failed.failure.text) == (2, True)
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_logs_that_were_moved_are_told() -> None:
    async def test() -> None:
        scene = Supervised()
        moved = MoveLog("new", 1, 2)
        starting: list[FakeChild] = []

        def start(child: FakeChild) -> None:
            if child.number == 1:
                starting.append(child)
                child.moved = moved  # while it was starting
            ready(child)

        scene.children.on_start = start
        first, second = await scene.start(worker_plan(), worker_plan(device_id=1))
        await scene.settle()
        assert (first.received, second.received) == ([], [moved])
        scene.supervisor.follow_logs()
        assert scene.children.did == ["open", "follow logs"]
        first.moved = moved
        scene.children.on_logs_moved()
        await scene.settle()
        assert (first.received, second.received) == ([moved], [moved])
        await scene.supervisor.stop()

    run_in_virtual_time(test())


def test_logs_are_told_by_the_names_of_workers() -> None:
    async def test() -> None:
        scene = Supervised()
        children = await scene.start(worker_plan(), worker_plan(device_id=1))
        logs = scene.service.logs
        names = [copy.worker for _, _, copy in scene.supervisor.copies()]
        ends = [f"last line of {child.pid}\n".encode() for child in children]
        assert [logs.end_of(name, 1000) for name in names] == ends
        assert logs.end_of(names[1], 3) == ends[1][-3:]
        for other in (str(children[0].log_path), children[0].plan.log_file, ""):
            assert logs.end_of(other, 1000) is None
        await scene.supervisor.stop()
        assert logs.end_of(names[0], 1000) is None

    run_in_virtual_time(test())
