"""From what a servable_config.py declares to a servable that can run: its models are loaded, and must fit."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mindspore_serving import log
from mindspore_serving.errors import StartUpError, text_of
from mindspore_serving.options import folder_of
from mindspore_serving.server.backend import backend_for
from mindspore_serving.server.backend.contract import ConcurrentGraph, LoadedGraph, LoadRequest
from mindspore_serving.server.backend.families import platform_of
from mindspore_serving.server.backend.model_folder import FoundModel, has_config, model_of
from mindspore_serving.server.channel.worker_plan import WAITING_SLOTS, WorkerPlan
from mindspore_serving.server.register.definition import (
    MethodDefinition,
    ModelDeclaration,
    ServableDefinition,
    StageKind,
)
from mindspore_serving.server.worker.config_import import import_servable_config
from mindspore_serving.server.worker.graph_runner import GraphRunner
from mindspore_serving.server.worker.method_types import types_of
from mindspore_serving.server.worker.model_runner import ModelRunner
from mindspore_serving.server.worker.stages import step_names
from mindspore_serving.server.worker.undeclared import declaration_of, definition_of, has_batch_dim
from mindspore_serving.signature import MethodSignature
from mindspore_serving.version_folders import versions_in

LARGEST_MESSAGE = 4096
"""Most instances of one message to a worker, whatever a stage asks for: each may be a group of its own."""
MESSAGE_LIMIT = 64
"""Most instances of one message to a worker where no stage asks for more."""


@dataclass(frozen=True, slots=True)
class LoadedServable:
    """A servable with its models in memory.

    Attributes:
        definition: What its servable_config.py declares.
        runners: Graphs of each model by key, one per file.
        methods: What clients may call.
        model_threads: Threads for models beside the main one; 0 where one is enough, or none.
        computes_here: Whether models keep this process busy; those that are elsewhere are only waited for, which is not
            for the main thread.
    """

    definition: ServableDefinition
    runners: Mapping[str, Sequence[GraphRunner]]
    methods: tuple[MethodSignature, ...]
    model_threads: int = 0
    computes_here: bool = True


def load_servable(
    plan: WorkerPlan,
    held_elsewhere: Mapping[str, Sequence[GraphRunner]] | None = None,
) -> LoadedServable:
    """Import and load a servable.

    Args:
        plan: Which one, and where.
        held_elsewhere: Stand-ins for the models, by key; None loads the models here.

    Raises:
        StartUpError: Something cannot be imported or loaded, or does not fit together.
    """
    if not has_config(folder_of(plan.settings)):
        return _load_undeclared(plan, held_elsewhere)
    definition = import_servable_config(plan.settings)
    if any(model.sharding is not None for model in definition.models.values()):
        raise StartUpError(
            f"Servable '{plan.servable_name}' is registered as distributed servable, start it with "
            "mindspore_serving.server.distributed.start_servable"
        )
    if held_elsewhere is not None:
        return fitted_servable(definition, held_elsewhere, enable_lite=plan.enable_lite)
    version_folder = _version_folder(plan) if definition.models else folder_of(plan.settings)
    if definition.models:
        _check_has_device(plan)
    runners = {
        key: _load_model(plan, version_folder, model, definition.declared_at(key))
        for key, model in definition.models.items()
    }
    return fitted_servable(
        definition, runners, model_threads=_model_threads(runners), enable_lite=plan.enable_lite
    )


def _load_undeclared(
    plan: WorkerPlan, held_elsewhere: Mapping[str, Sequence[GraphRunner]] | None
) -> LoadedServable:
    """Load a servable without servable_config.py; parameters and errors as of `load_servable`."""
    found = model_of(plan.settings)
    model = declaration_of(plan.settings, found)
    runners = held_elsewhere
    if runners is None:
        _check_has_device(plan)
        model, runner = _load_undeclared_model(plan, found, model)
        runners = {model.key: [runner]}
    graph = runners[model.key][0]
    definition = definition_of(plan.settings, found, model, graph.inputs, graph.outputs)
    return fitted_servable(definition, runners, enable_lite=plan.enable_lite)


def _load_undeclared_model(
    plan: WorkerPlan, found: FoundModel, model: ModelDeclaration
) -> tuple[ModelDeclaration, ModelRunner]:
    """Load the one model, and decide whether it has a batch dimension where nothing says it.

    It is loaded as if it had one. If it has none it is loaded again, for what a backend makes of a dynamic dimension
    depends on that.

    Raises:
        StartUpError: It cannot be loaded; the text has the file and the reason.
    """
    try:
        graph = _load_graph(plan, found.path, model)
        if plan.settings.with_batch_dim is None and not has_batch_dim(graph.signature):
            log.info("The first dimension of model %s is no batch: its tensors are one instance", found.path)
            graph.close()
            model = replace(model, with_batch_dim=False)
            graph = _load_graph(plan, found.path, model)
        return model, _runner_of(graph, model)
    except Exception as cause:  # a library of a backend may raise anything
        raise StartUpError(f"Load model '{found.path}' failed: {text_of(cause)}") from cause


def _check_has_device(plan: WorkerPlan) -> None:
    """Check that there is something to run models on.

    Raises:
        StartUpError: There is nothing.
    """
    if not plan.has_device and plan.device_type != "cpu":
        raise StartUpError(
            f"Servable '{plan.servable_name}' has models declared by declare_model, but parameter 'device_ids' of "
            "ServableStartConfig is not set in Serving startup script when the MindSpore or Lite inference package not "
            "support CPU"
        )


def _model_threads(runners: Mapping[str, Sequence[ModelRunner]]) -> int:
    """How many threads run models: several where all graphs can run at the same time, else 0."""
    graphs = [runner.graph for of_one_model in runners.values() for runner in of_one_model]
    if len(graphs) < 2 or not all(isinstance(graph, ConcurrentGraph) for graph in graphs):
        return 0
    return min(len(graphs), len(os.sched_getaffinity(0)))


def fitted_servable(
    definition: ServableDefinition,
    runners: Mapping[str, Sequence[GraphRunner]],
    *,
    model_threads: int = 0,
    computes_here: bool = True,
    enable_lite: bool = False,
) -> LoadedServable:
    """Put a servable and its models together.

    Args:
        definition: What its servable_config.py declares.
        runners: Graphs of each model by key.
        model_threads: As of `LoadedServable`.
        computes_here: As of `LoadedServable`.
        enable_lite: Whether MindSpore Lite runs models that MindSpore could run too.

    Raises:
        StartUpError: A method takes a model for something else than it is, or declares another type than it has.
    """
    for key, subgraph in definition.model_arity:
        if subgraph >= len(runners[key]):
            raise StartUpError(
                f"Raise failed: The model {key} does not have subgraph of index {subgraph}, the subgraph count of the "
                f"model is {len(runners[key])} ({definition.used_at(key, subgraph)})"
            )
        _check_arity(definition, key, subgraph, runners[key][subgraph])
    for key, model in definition.models.items():
        for runner in runners.get(key, ()):
            runner.strict_shape = model.strict_shape
    _check_waiting_methods(definition)
    methods = tuple(
        replace(
            _signature_of(method, definition, runners), platform=_platform_of(method, definition, enable_lite)
        )
        for method in definition.exposed
    )
    return LoadedServable(definition, runners, methods, model_threads, computes_here)


def _check_waiting_methods(definition: ServableDefinition) -> None:
    """Check that each method that waits for others can have a slot of its own.

    Raises:
        StartUpError: There are too many of them.
    """
    kinds = (StageKind.PIPELINE, StageKind.CALL)
    waiting = [
        method.name for method in definition.exposed if any(stage.kind in kinds for stage in method.stages)
    ]
    if len(waiting) > WAITING_SLOTS:
        raise StartUpError(
            f"Servable '{definition.name}' has {len(waiting)} pipelines and methods that call others, expected at most "
            f"{WAITING_SLOTS}; let another servable have some of them"
        )


def _version_folder(plan: WorkerPlan) -> Path:
    folder = folder_of(plan.settings) / str(plan.version)
    if folder.is_dir():
        return folder
    if not versions_in(folder_of(plan.settings)):
        raise StartUpError(
            "There is no valid version directory of models while there are models declared in servable_config.py, "
            f"servable directory: {plan.settings.servable_directory}, servable name: {plan.servable_name}"
        )
    raise StartUpError(
        "Raise failed: Start servable failed: There is no specified version directory of models, specified version "
        f"number: {plan.version}, servable directory: '{plan.settings.servable_directory}', servable name: "
        f"'{plan.servable_name}'"
    )


def _load_model(
    plan: WorkerPlan, folder: Path, model: ModelDeclaration, declared_at: str
) -> list[ModelRunner]:
    runners: list[ModelRunner] = []
    if plan.enable_lite and len(model.files) > 1:
        raise StartUpError(
            "Load model from file failed, Multi subgraph is not support when the backend is lite, "
            f"model files: {', '.join(model.files)} (declared at {declared_at})"
        )
    for i, file in enumerate(model.files):
        try:
            runners.append(_runner_of(_load_graph(plan, folder / file, model), model))
        except Exception as cause:  # a library of a backend may raise anything
            raise StartUpError(
                f"Raise failed: Load model failed, servable directory: '{plan.settings.servable_directory}', "
                f"servable name: '{plan.servable_name}', model file: '[{', '.join(model.files)}]', version number "
                f"{plan.version},model context: {model.context}, load error details: {text_of(cause)} "
                f"(declared at {declared_at})"
            ) from cause
        if runners[i].batch_size != runners[0].batch_size:
            raise StartUpError(
                f"Raise failed: Expect batch size to be same, last batch size: {runners[0].batch_size}, subgraph {i} "
                f"batch size: {runners[i].batch_size} (declared at {declared_at})"
            )
    return runners


def load_request(plan: WorkerPlan, path: Path, model: ModelDeclaration) -> LoadRequest:
    """What a backend is asked to load.

    Args:
        plan: Where it is to run, and its key.
        path: Its file.
        model: How it is declared.
    """
    settings = model.context.model_context
    return LoadRequest(
        path=path,
        with_batch_dim=model.with_batch_dim,
        without_batch_dim_inputs=model.without_batch_dim_inputs,
        max_batch_size=model.max_batch_size,
        device_type=plan.device_type,
        device_id=plan.device_id,
        context=model.context.device_info(plan.device_type),
        thread_num=settings.thread_num,
        thread_affinity_core_list=tuple(settings.thread_affinity_core_list),
        enable_parallel=settings.enable_parallel,
        model_format=model.model_format,
        config_file=model.config_file,
        options=model.runtime_options,
        dec_key=plan.settings.dec_key,
        dec_mode=plan.settings.dec_mode,
    )


def _load_graph(plan: WorkerPlan, path: Path, model: ModelDeclaration) -> LoadedGraph:
    request = load_request(plan, path, model)
    log.info("Loading model %s", path)  # the last line, where a damaged file crashes the process
    graph = backend_for(model.model_format, plan.enable_lite).load(request)
    log.info("Loaded model %s: %s", path, graph.signature)
    return graph


def _runner_of(graph: LoadedGraph, model: ModelDeclaration) -> ModelRunner:
    return ModelRunner(graph, model.with_batch_dim, model.without_batch_dim_inputs, model.max_batch_size)


def _check_arity(definition: ServableDefinition, key: str, subgraph: int, runner: GraphRunner) -> None:
    inputs, outputs = definition.model_arity[key, subgraph]
    for what, registered, defined in (
        ("inputs", inputs, len(runner.inputs)),
        ("outputs", outputs, runner.outputs_count),
    ):
        if registered != defined:
            raise StartUpError(
                f"Raise failed: The {what} count {registered} in register_method not equal to the count {defined} "
                f"defined in model, model info: {key}, subgraph: {subgraph} ({definition.used_at(key, subgraph)})"
            )


def _signature_of(
    method: MethodDefinition, definition: ServableDefinition, runners: Mapping[str, Sequence[GraphRunner]]
) -> MethodSignature:
    types = types_of(method, definition.models, runners)
    return replace(
        _batching_of(method, runners),
        output_names=method.output_names,
        inputs=types.inputs,
        outputs=types.outputs,
        rows=types.rows,
        description=method.description,
        takes_parameters=bool(method.parameters),
        steps=step_names(method.stages),
    )


def _platform_of(method: MethodDefinition, definition: ServableDefinition, enable_lite: bool) -> str:
    """What runs a method; "" where functions do, or models of several platforms."""
    if any(stage.kind is not StageKind.MODEL for stage in method.stages):
        return ""
    formats = {definition.models[stage.target].model_format for stage in method.stages}
    platforms = {platform_of(one, enable_lite) for one in formats}
    return platforms.pop() if len(platforms) == 1 else ""


def _batching_of(method: MethodDefinition, runners: Mapping[str, Sequence[GraphRunner]]) -> MethodSignature:
    """A method, and what its batches should be like."""
    if method.stages and method.stages[0].kind is StageKind.PIPELINE:
        # One instance at a time: nothing is gained by more, and other methods get their turn.
        return MethodSignature(method.name, method.input_names, batch_limit=1, waits=True)
    calls = any(stage.kind is StageKind.CALL for stage in method.stages)
    stages = [
        runners[stage.target][stage.subgraph] for stage in method.stages if stage.kind is StageKind.MODEL
    ]
    sizes = [runner.batch_size for runner in stages]
    fixed = [runner.batch_size for runner in stages if not runner.dynamic]
    asked = [stage.batch_size for stage in method.stages]
    return MethodSignature(
        name=method.name,
        input_names=method.input_names,
        batch_limit=min(max([MESSAGE_LIMIT, *sizes, *asked]), LARGEST_MESSAGE),
        fill=max([1, *fixed]),
        full=max([1, *sizes, *asked]),
        only_models=bool(method.stages) and all(stage.kind is StageKind.MODEL for stage in method.stages),
        waits=calls,
    )
