"""Requests and batches of traced calls become spans: through a real dispatcher, to workers that are the test."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, DEFAULT_OFF
from opentelemetry.trace import SpanKind, StatusCode

from mindspore_serving.errors import Failure, StageError
from mindspore_serving.errors import StatusCode as WireCode
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.channel.messages import Result
from mindspore_serving.server.dispatch.client_call import current_call
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.signature import MethodSignature
from tests.support.rows import numbered
from tests.unit.dispatch.dispatching import Worker, pumped, submit
from tests.unit.telemetry.tracing.tracing_of import Client

METHOD = MethodSignature("m", ("x",), 8, steps=("prepare", "model net", "format"))
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def worker(dispatcher: Dispatcher) -> Worker:
    return Worker(dispatcher, label="s:1", methods=(METHOD,))


def ids(span: ReadableSpan) -> tuple[int, int]:
    assert span.context is not None
    return span.context.trace_id, span.context.span_id


def links(span: ReadableSpan) -> list[tuple[int, int]]:
    return [(link.context.trace_id, link.context.span_id) for link in span.links]


def parent(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


async def test_a_call_has_a_span_with_its_queue_and_its_batch(
    dispatcher: Dispatcher, worker: Worker, client: Client
) -> None:
    call = client.call({"traceparent": PARENT})
    reply = submit(dispatcher, 3)
    await pumped()
    [batch] = worker.batches
    worker.copy.take_result(
        Result(batch.batch_id, batch.slot, 0, batch.groups, True, 40, 1000, 8, 5, (600, 0, 300))
    )
    await reply
    await pumped()
    client.end(call, instances=3)
    by_name = {span.name: span for span in client.kept.spans}
    assert sorted(by_name) == ["POST /model/{target*}", "batch", "format", "prepare", "queue"]
    server, batch_span = by_name["POST /model/{target*}"], by_name["batch"]
    assert {ids(span)[0] for span in client.kept.spans} == {0x0AF7651916CD43DD8448EB211C80319C}
    assert len({ids(span)[1] for span in client.kept.spans}) == 5
    assert parent(server) == 0xB7AD6B7169203331
    assert parent(by_name["queue"]) == parent(batch_span) == ids(server)[1]
    assert parent(by_name["prepare"]) == parent(by_name["format"]) == ids(batch_span)[1]
    assert links(server) == [ids(batch_span)]
    assert links(batch_span) == [ids(server)]
    assert batch_span.attributes == {
        "serving.servable": "s",
        "serving.version": 1,
        "serving.method": "m",
        "serving.instances": 3,
        "serving.requests": 1,
        "serving.worker": "s:1",
        "serving.model_rows": 8,
        "serving.padding_rows": 5,
    }
    assert {span.kind for span in client.kept.spans if span is not server} == {SpanKind.INTERNAL}
    assert {span.status.status_code for span in client.kept.spans} == {StatusCode.UNSET}
    assert [span.resource.attributes["service.name"] for span in client.kept.spans] == ["tested"] * 5


async def test_steps_stand_one_behind_the_other_within_their_batch(
    dispatcher: Dispatcher, worker: Worker, client: Client
) -> None:
    client.call()
    reply = submit(dispatcher, 1)
    await pumped()
    [batch] = worker.batches
    worker.copy.take_result(
        Result(batch.batch_id, batch.slot, 0, batch.groups, True, 0, 10, steps=(3, 4, 2**32 - 1))
    )
    await reply
    [sent] = client.kept.named("batch")
    steps = [client.kept.named(name)[0] for name in ("prepare", "model net", "format")]
    times = [(span.start_time, span.end_time) for span in steps]
    assert sent.start_time is not None and sent.end_time is not None
    flat = [time for pair in times for time in pair]
    assert None not in flat and flat == sorted(flat, key=int)  # type: ignore[arg-type]
    assert sent.start_time <= flat[0] and flat[-1] <= sent.end_time  # type: ignore[operator]


async def test_a_batch_of_three_calls_is_one_span_that_is_linked_with_all(
    dispatcher: Dispatcher, worker: Worker, client: Client
) -> None:
    calls, replies = [], []
    for _ in range(3):
        calls.append(client.call())
        replies.append(submit(dispatcher, 2))
    current_call.set(None)
    replies.append(submit(dispatcher, 1))  # is not traced
    await pumped()
    worker.answer_all()
    await asyncio.gather(*replies)
    for call in calls:
        client.end(call)
    [batch] = client.kept.named("batch")
    servers = client.kept.named("POST /model/{target*}")
    assert len({ids(server)[0] for server in servers}) == 3
    assert links(batch) == [ids(server) for server in servers]
    assert [links(server) for server in servers] == [[ids(batch)]] * 3
    assert (ids(batch)[0], parent(batch)) == ids(servers[0])
    assert len(client.kept.named("queue")) == 3
    assert batch.attributes is not None
    assert (batch.attributes["serving.instances"], batch.attributes["serving.requests"]) == (7, 4)


async def test_a_batch_that_is_over_after_its_request_has_its_span_then(
    dispatcher: Dispatcher, worker: Worker, client: Client
) -> None:
    first, one = client.call(), submit(dispatcher, 1)
    second, two = client.call(), submit(dispatcher, 1)
    await pumped()
    [batch] = worker.batches
    worker.answer(batch, 0, (numbered(1),), final=False)
    await one
    client.end(first)
    assert client.kept.named("batch") == []
    worker.answer(batch, 1, (numbered(1),))
    await two
    client.end(second)
    [span] = client.kept.named("batch")
    servers = client.kept.named("POST /model/{target*}")
    assert links(servers[0]) == links(servers[1]) == [ids(span)]


async def test_a_request_in_several_batches_waits_until_the_first_one(
    dispatcher: Dispatcher, client: Client
) -> None:
    worker = Worker(dispatcher, methods=(MethodSignature("m", ("x",), 1),))
    call, reply = client.call(), submit(dispatcher, 3)
    for _ in range(3):  # two of them fit into its slots
        await pumped()
        worker.answer_all()
    await reply
    client.end(call)
    batches = client.kept.named("batch")
    [server] = client.kept.named("POST /model/{target*}")
    assert len(batches) == 3
    assert links(server) == [ids(batch) for batch in batches]
    [queue] = client.kept.named("queue")
    assert queue.end_time == batches[0].start_time


async def test_two_requests_of_a_call_in_one_batch_are_one_link(
    dispatcher: Dispatcher, worker: Worker, client: Client
) -> None:
    call, replies = client.call(), [submit(dispatcher, 1), submit(dispatcher, 2)]
    await pumped()
    worker.answer_all()
    await asyncio.gather(*replies)
    client.end(call, transport="grpc")
    [batch], [server] = client.kept.named("batch"), client.kept.named("model/{target*}")
    assert links(server) == [ids(batch)]
    assert links(batch) == [ids(server)]


async def test_what_a_shared_batch_calls_is_in_the_trace_of_the_request_that_it_is_for(
    dispatcher: Dispatcher, worker: Worker, client: Client
) -> None:
    first, one = client.call(), submit(dispatcher, 1)
    second, two = client.call(), submit(dispatcher, 1)
    await pumped()
    for call in (first, second):
        trace = call.requests[0].trace
        assert trace is not None
        inner = dispatcher.relay(worker.servable, "m", [numbered(1)], trace=trace.calls("s", "m"))
        await pumped()
        worker.answer(worker.batches[-1])
        await inner.future
        await pumped()
    worker.answer(worker.batches[0])
    await asyncio.gather(one, two)
    client.end(first)
    client.end(second)
    owner, other = client.kept.named("POST /model/{target*}")
    [shared] = [batch for batch in client.kept.named("batch") if len(batch.links) == 2]
    calls = client.kept.named("call s.m")
    assert [(ids(call)[0], parent(call)) for call in calls] == [ids(shared), ids(other)]
    assert parent(shared) == ids(owner)[1]
    inner_batches = [batch for batch in client.kept.named("batch") if batch is not shared]
    assert [links(call) for call in calls] == [[ids(batch)] for batch in inner_batches]


async def test_a_stage_that_is_a_call_has_the_span_of_the_call_in_its_place(
    dispatcher: Dispatcher, client: Client
) -> None:
    steps = ("s.m+s.other version 2", "s.m (2)", "own")
    worker = Worker(dispatcher, methods=(MethodSignature("m", ("x",), 8, steps=steps),))
    call, reply = client.call(), submit(dispatcher, 1)
    await pumped()
    trace = call.requests[0].trace
    assert trace is not None
    trace.calls("s", "m")
    trace.calls("s", "other")
    [batch] = worker.batches
    worker.copy.take_result(Result(batch.batch_id, batch.slot, 0, batch.groups, True, 0, 9, steps=(3, 3, 3)))
    await reply
    assert [span.name for span in client.kept.spans] == ["batch", "own"]


async def test_a_status_of_success_hides_no_fault(
    dispatcher: Dispatcher, worker: Worker, client: Client
) -> None:
    call, reply = client.call(), submit(dispatcher, 1)
    await pumped()
    worker.answer(worker.batches[0], 0, (FailedRows(StageError("boom").failure(), 1),))
    await reply
    client.end(call, transport="grpc", route="/MSService/Predict", status=0, error="boom")
    [server] = client.kept.named("MSService/Predict")
    assert server.status.status_code is StatusCode.ERROR
    assert server.attributes is not None
    assert server.attributes["error.type"] == "stage_failed"


async def test_a_lost_worker_is_the_error_of_its_batch_and_the_next_one_goes_on(
    dispatcher: Dispatcher, worker: Worker, client: Client
) -> None:
    other = Worker(dispatcher, label="other")
    call, reply = client.call(), submit(dispatcher, 1)
    await pumped()
    holder, left = (worker, other) if worker.batches else (other, worker)
    holder.die()
    await pumped()
    left.answer_all()
    await reply
    client.end(call)
    lost, run = client.kept.named("batch")
    assert (lost.status.status_code, lost.status.description) == (
        StatusCode.ERROR,
        f"{holder.copy.label} was lost",
    )
    assert run.status.status_code is StatusCode.UNSET
    [server] = client.kept.named("POST /model/{target*}")
    assert links(server) == [ids(lost), ids(run)]
    assert server.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (StageError("boom").failure(), StatusCode.ERROR),
        (Failure(WireCode.INVALID_INPUTS, "what is this"), StatusCode.UNSET),
    ],
)
async def test_a_batch_says_how_many_instances_failed_and_whose_fault_that_is(
    dispatcher: Dispatcher, worker: Worker, client: Client, failure: Failure, status: StatusCode
) -> None:
    call, reply = client.call(), submit(dispatcher, 3)
    await pumped()
    [batch] = worker.batches
    worker.answer(batch, 0, (FailedRows(failure, 2),), final=False)
    worker.answer(batch, 2, (numbered(1),))
    await reply
    client.end(call, failed_instances=2, error=failure.text)
    [span] = client.kept.named("batch")
    assert span.attributes is not None
    assert span.attributes["serving.failed_instances"] == 2
    assert span.status.status_code is status
    [server] = client.kept.named("POST /model/{target*}")
    assert server.status.status_code is status
    assert server.status.description == (failure.text if status is StatusCode.ERROR else None)


async def test_a_request_that_is_given_up_in_the_queue_has_a_queue_and_no_batch(
    dispatcher: Dispatcher, worker: Worker, client: Client
) -> None:
    call = client.call()
    reply = submit(dispatcher, 1, timeout_s=0.001)
    worker.copy.exclusive = True  # it takes nothing
    await reply
    client.end(call, status=504, error="too late", failed_instances=1)
    [server] = client.kept.named("POST /model/{target*}")
    assert server.attributes is not None
    assert server.attributes["error.type"] == "504"
    assert server.attributes["serving.outcome"] == "deadline"
    [queue] = client.kept.named("queue")
    assert queue.start_time is not None and queue.end_time is not None
    assert queue.end_time - queue.start_time >= 1_000_000
    assert client.kept.named("batch") == []


async def test_a_call_that_is_not_sampled_leaves_no_trace(dispatcher: Dispatcher, worker: Worker) -> None:
    client = Client(DEFAULT_OFF)
    call, reply = client.call(), submit(dispatcher, 1)
    assert (call.trace, call.trace_id, call.traceparent) == (None, "", "")
    assert call.requests[0].trace is None
    await pumped()
    worker.answer_all()
    await reply
    client.end(call)
    assert client.kept.spans == []


def test_a_call_says_which_trace_it_belongs_to(client: Client) -> None:
    call = client.call({"traceparent": PARENT})
    assert call.trace_id == PARENT[3:35]
    version, trace_id, span_id, flags = call.traceparent.split("-")
    assert (version, trace_id, flags) == ("00", PARENT[3:35], "01")
    client.end(call)
    [server] = client.kept.spans
    assert f"{ids(server)[1]:016x}" == span_id


def test_questions_for_health_have_no_span_unless_the_client_traces_them(client: Client) -> None:
    client.end(client.call(), probe=True)
    assert client.kept.spans == []
    client.end(client.call({"traceparent": PARENT}), probe=True)
    assert len(client.kept.spans) == 1


def test_a_call_that_began_before_tracing_did_has_no_span(client: Client) -> None:
    current = Client(ALWAYS_OFF).call()
    client.end(current)
    assert client.kept.spans == []
