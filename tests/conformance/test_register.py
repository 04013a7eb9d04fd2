"""Sections 4.1 and 5.2: what servable_config.py may call, and how it is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.attempts import add_attempts, told
from tests.conformance.departures import agrees
from tests.conformance.row import row
from tests.support.serving import RunningServer, serving

DECLARED = """\
model = register.declare_model("tensor_add.mindir", "MindIR", with_batch_dim=False)


def one(x):
    return x


def two(x1, x2):
    return x1 + x2


def batch(instances):
    return list(instances)


@register.register_method(output_names=["y"])
def uses_one_and_model(x1, x2):
    x1 = register.add_stage(one, x1, outputs_count=1)
    return register.add_stage(model, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def uses_batch(x):
    return register.add_stage(batch, x, outputs_count=1, batch_size=2)
"""
FILES = [f"1/{name}.mindir" for name in ("tensor_add", "tensor_sub_a", "tensor_sub_b", "tensor_sub_c")]


def declare(arguments: str) -> str:
    return f"register.declare_model({arguments})"


def method(body: str, parameters: str = "x", names: str = '["y"]', name: str = "attempted") -> str:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return (
        f"from attempts.servable_config import model, one, two, batch\n\n\n"
        f"@register.register_method(output_names={names})\ndef {name}({parameters}):\n{lines}"
    )


def show(expression: str) -> str:
    return f"RESULT = {expression}"


PLACEHOLDER = (
    "Each value of parameter *args is a placeholder for data and must come from the method inputs or the outputs of "
    "add_stage"
)
RETURNED = PLACEHOLDER.replace("of parameter *args", "returned")
STAGE = (
    "Check failed in method 'attempted', the parameter 'stage' of add_stage must be function or Model returned by "
    "declare_model, "
)
FORMAT = "model format can only be OM, MindIR, MindIR_Lite, ONNX or Paddle, case ignored"
SET = "Set {} device info failed, unsupported {} nonsense"

# Each case: its source, and what is told of it.
CASES = {
    # declare_model
    "4.1-model_file-str": (declare('"tensor_sub_a.mindir", "MindIR"'), "no error"),
    "4.1-model_file-list": (declare('["tensor_sub_b.mindir", "tensor_sub_c.mindir"], "MindIR"'), "no error"),
    "4.1-model_file-type": (
        declare('1, "MindIR"'),
        "Parameter 'model_file' should be str or tuple/list of str, but actually <class 'int'>",
    ),
    "4.1-model_file-empty": (
        declare('"", "MindIR"'),
        "The item of parameter 'model_file' should not be empty str",
    ),
    "4.1-model_file-item": (
        declare('["a.mindir", 1], "MindIR"'),
        "The item of parameter 'model_file' should be str, but actually <class 'int'>",
    ),
    "4.1-model_file-repeated": (
        declare('["a.mindir", "a.mindir"], "MindIR"'),
        "The item value 'a.mindir' in parameter 'model_file' should not be repeated",
    ),
    "4.1-model_format": (declare('"a.mindir", "Caffe"'), FORMAT),
    "4.1-model_format-type": (
        declare('"a.mindir", 1'),
        "Parameter 'model_format' should be str, but actually <class 'int'>",
    ),
    "4.1-with_batch_dim": (
        declare('"a.mindir", "MindIR", with_batch_dim=1'),
        "Parameter 'with_batch_dim' should be bool, but actually <class 'int'>",
    ),
    "4.1-without_batch_dim_inputs": (
        declare('"a.mindir", "MindIR", without_batch_dim_inputs=-1'),
        "The item value '-1' in parameter 'without_batch_dim_inputs' should be >= 0",
    ),
    "4.1-without_batch_dim_inputs-type": (
        declare('"a.mindir", "MindIR", without_batch_dim_inputs="0"'),
        "Parameter 'without_batch_dim_inputs' should be int or tuple/list of int, but actually <class 'str'>",
    ),
    "4.1-context-type": (
        declare('"a.mindir", "MindIR", context=1'),
        "Parameter 'context' should be Context, but gotten <class 'int'>",
    ),
    "4.1-options-type": (
        declare('"a.mindir", "MindIR", options=1'),
        "Parameter 'options' should be None, GpuOptions or AclOptions, but gotten <class 'int'>",
    ),
    "4.1-config_file-type": (
        declare('"a.mindir", "MindIR", config_file=1'),
        "Parameter 'config_file' should be str, but actually <class 'int'>",
    ),
    "4.1-registry-same-model": (
        declare('"tensor_add.mindir", "MindIR"'),
        "Raise failed: Declare model [tensor_add.mindir] failed, model file 'tensor_add.mindir' has already been used",
    ),
    # add_stage
    "4.1-add_stage-tag": (
        method('return register.add_stage(one, x, outputs_count=1, tag="")'),
        "Parameter 'tag' should not be empty str",
    ),
    "4.1-add_stage-tag-type": (
        method("return register.add_stage(one, x, outputs_count=1, tag=1)"),
        "Parameter 'tag' should be str, but actually <class 'int'>",
    ),
    "4.1-add_stage-placeholder": (
        method("return register.add_stage(one, np.ones(2), outputs_count=1)"),
        PLACEHOLDER,
    ),
    "4.1-add_stage-placeholder-int": (
        method("return register.add_stage(one, 1, outputs_count=1)"),
        PLACEHOLDER,
    ),
    "4.1-add_stage-model-not-declared": (
        method('return register.add_stage(register.model.Model("other"), x, outputs_count=1)'),
        STAGE
        + "and ensure that interface 'declare_model' can take effect when importing servable_config.py by the "
        "serving server",
    ),
    "4.1-add_stage-other-type": (
        method("return register.add_stage(1, x, outputs_count=1)"),
        STAGE + "now is <class 'int'>",
    ),
    "4.1-add_stage-other-type-class": (
        method("return register.add_stage(dict, x, outputs_count=1)"),
        STAGE + "now is <class 'type'>",
    ),
    "4.1-add_stage-lambda": (
        method("return register.add_stage(lambda x: x, x, outputs_count=1)", name="with_lambda"),
        "no error",
    ),
    "4.1-add_stage-batch_size": (
        method("return register.add_stage(batch, x, outputs_count=1, batch_size=-1)"),
        "Parameter 'batch_size' should be >= 0",
    ),
    "4.1-add_stage-batch_size-type": (
        method("return register.add_stage(batch, x, outputs_count=1, batch_size=True)"),
        "Parameter 'batch_size' should be int, but actually <class 'bool'>",
    ),
    "4.1-add_stage-batch_size-inconsistent": (
        method("return register.add_stage(batch, x, outputs_count=1)"),
        "Failed to add stage function attempts.batch: parameter 'batch_size' in multiple 'add_stage' should be "
        "enabled or disabled consistently",
    ),
    "4.1-add_stage-batch_size-inconsistent-other-way": (
        method("return register.add_stage(one, x, outputs_count=1, batch_size=2)"),
        "Failed to add stage function attempts.one: parameter 'batch_size' in multiple 'add_stage' should be "
        "enabled or disabled consistently",
    ),
    "4.1-add_stage-unknown-built-in": (
        method('return register.add_stage("nosuch_cpp", x, outputs_count=1)'),
        "Function 'nosuch_cpp' is not defined",
    ),
    "4.1-add_stage-model-inputs-count": (
        method("return register.add_stage(model, x, outputs_count=1)"),
        "Raise failed: RegisterInputOutputInfo failed, inputs count 1 not match old count 2, model: "
        "tensor_add.mindir",
    ),
    "4.1-add_stage-model-outputs-count": (
        method("a, b = register.add_stage(model, x, x, outputs_count=2)\nreturn a"),
        "Raise failed: RegisterInputOutputInfo failed, outputs count 2 not match old count 1, model: "
        "tensor_add.mindir",
    ),
    "4.1-add_stage-outputs_count": (
        method("return register.add_stage(one, x, outputs_count=0)"),
        "Parameter 'outputs_count' should be >= 1",
    ),
    "4.1-add_stage-outputs_count-required": (
        method("return register.add_stage(one, x)"),
        "TypeError: add_stage() missing 1 required keyword-only argument: 'outputs_count'",
    ),
    "4.1-add_stage-too-many-to-unpack": (
        method("a, b = register.add_stage(uses, x, outputs_count=3)\nreturn a").replace(
            "@register", "def uses(x):\n    return x, x, x\n\n\n@register"
        ),
        "ValueError: too many values to unpack (expected 2)",
    ),
    "4.1-add_stage-not-iterable": (
        method("a, b = register.add_stage(one, x, outputs_count=1)\nreturn a"),
        "TypeError: cannot unpack non-iterable _TensorDef object",
    ),
    "3.2-text-function-arity": (
        method("return register.add_stage(two, x, outputs_count=1)"),
        "function two input args count 2 not match the count 1 registered in method",
    ),
    "3.2-text-registered-inputs-count": (
        method(
            "register.add_stage(flexible, x, outputs_count=1)\n"
            "return register.add_stage(flexible, x, x, outputs_count=1)"
        ).replace("@register", "def flexible(*values):\n    return values[0]\n\n\n@register"),
        "Stage function 'attempts.flexible' inputs count 2 not match last registered count 1, method name 'attempted'",
    ),
    "3.2-text-registered-outputs-count": (
        method("a, b = register.add_stage(one, x, outputs_count=2)\nreturn a"),
        "Stage function 'attempts.one' outputs count 2 not match last registered count 1, method name 'attempted'",
    ),
    # register_method
    "5.2-output_names-type": (
        method("return x", names="1"),
        "Parameter 'output_names' should be str or tuple/list of str, but actually <class 'int'>",
    ),
    "5.2-output_names-empty": (
        method("return x", names='[""]'),
        "The item of parameter 'output_names' should not be empty str",
    ),
    "5.2-output_names-repeated": (
        method("return x, x", names='["y", "y"]'),
        "The item value 'y' in parameter 'output_names' should not be repeated",
    ),
    "5.2-output_names-str": (method("return x", names='"y"', name="with_str"), "no error"),
    "5.2-parameter-var-positional": (
        method("return x", parameters="*x"),
        "'attempted' input x cannot be VAR_POSITIONAL !",
    ),
    "5.2-parameter-var-keyword": (
        method("return x", parameters="**x"),
        "'attempted' input x cannot be VAR_KEYWORD !",
    ),
    "5.2-parameter-keyword-only": (
        method("return x", parameters="*, x"),
        "'attempted' input x cannot be KEYWORD_ONLY !",
    ),
    "5.2-parameter-default": (method("return x", parameters="x=1", name="with_default"), "no error"),
    "5.2-return-placeholder": (method("return 1"), RETURNED),
    "5.2-return-nothing": (method("pass"), RETURNED),
    "5.2-return-count": (method("return x, x"), "Method return output size 2 not match registered 1"),
    "5.2-return-count-less": (
        method("return x", names='["y", "z"]'),
        "Method return output size 1 not match registered 2",
    ),
    "5.2-return-input": (method("return x", name="echo"), "no error"),
    "5.2-control-flow": (
        method(
            "for _ in range(3):\n    x = register.add_stage(one, x, outputs_count=1)\nreturn x", name="looped"
        ),
        "no error",
    ),
    "5.2-duplicate-method": (
        method("return x", name="uses_batch"),
        "Raise failed: Method uses_batch has been registered more than once.",
    ),
    "5.2-decorator-returns-the-function": (
        method("return x", name="kept") + "\n\nRESULT = kept(5)\n",
        "5",
    ),
    # Context and its kin
    "4.1-Context-default": (
        show("[*vars(register.Context().model_context).values()]"),
        "[-1, [], -1, []]",
    ),
    "4.1-Context-getters": (
        show(
            "[getattr(register.Context(thread_num=2, thread_affinity_core_list=(0, 1), enable_parallel=True)"
            ".model_context, name) for name in ('thread_num', 'thread_affinity_core_list', 'enable_parallel')]"
        ),
        "[2, [0, 1], 1]",
    ),
    "4.1-Context-unsupported": (
        "register.Context(nonsense=1)",
        "Set context failed, unsupported option nonsense",
    ),
    "4.1-Context-thread_num": (
        "register.Context(thread_num=0)",
        "Parameter 'thread_num' should be >= 1",
    ),
    "4.1-Context-thread_affinity_core_list": (
        "register.Context(thread_affinity_core_list=1)",
        "Parameter 'thread_affinity_core_list' should be tuple/list of int, but actually <class 'int'>",
    ),
    "4.1-Context-thread_affinity_core_list-item": (
        "register.Context(thread_affinity_core_list=[-1])",
        "The item value '-1' in parameter 'thread_affinity_core_list' should be >= 0",
    ),
    "4.1-Context-enable_parallel": (
        "register.Context(enable_parallel=1)",
        "Parameter 'enable_parallel' should be bool, but actually <class 'int'>",
    ),
    "4.1-Context-append-type": (
        "register.Context().append_device_info(1)",
        "Parameter 'device_info' should instance of CPUDeviceInfo, GPUDeviceInfo, or AscendDeviceInfo, but actually "
        "<class 'int'>",
    ),
    **{
        f"4.1-Context-append-{kind}-twice": (
            f"context = register.Context()\ncontext.append_device_info(register.{name}())\n"
            f"context.append_device_info(register.{name}())",
            f"Device info of type {kind} has already been appended",
        )
        for kind, name in (("cpu", "CPUDeviceInfo"), ("gpu", "GPUDeviceInfo"), ("ascend", "AscendDeviceInfo"))
    },
    "4.1-Context-device_types": (
        "context = register.Context()\ncontext.append_device_info(register.GPUDeviceInfo())\n"
        "context.append_device_info(register.AscendDeviceInfo())\nRESULT = context.device_types",
        "['gpu', 'ascend']",
    ),
    "4.1-Context-str": (
        "context = register.Context(thread_num=3)\ncontext.append_device_info(register.CPUDeviceInfo())\n"
        "RESULT = [field for field in ('thread_num', 'thread_affinity_core_list', 'enable_parallel', 'device_list') "
        "if field not in str(context)]",
        "[]",
    ),
    "4.1-CPUDeviceInfo": (
        show("register.CPUDeviceInfo(precision_mode='fp16')._as_context_map()"),
        "{'device_type': 'cpu', 'precision_mode': 'fp16'}",
    ),
    "4.1-GPUDeviceInfo": (show("register.GPUDeviceInfo()._as_context_map()"), "{'device_type': 'gpu'}"),
    "4.1-AscendDeviceInfo": (
        show(
            "sorted(register.AscendDeviceInfo(insert_op_cfg_path='a', input_format='NCHW', input_shape='b', "
            "output_type='FP16', precision_mode='force_fp16', op_select_impl_mode='high_precision', "
            "fusion_switch_config_path='c', buffer_optimize_mode='off_optimize')._as_context_map().values())"
        ),
        "['FP16', 'NCHW', 'a', 'ascend', 'b', 'c', 'force_fp16', 'high_precision', 'off_optimize']",
    ),
    "4.1-DeviceInfo-context_map": (
        show(
            "register.CPUDeviceInfo().context_map, register.GPUDeviceInfo(precision_mode='origin').context_map, "
            "register.AscendDeviceInfo(output_type='FP16').context_map['output_type']"
        ),
        "({'device_type': 'cpu'}, {'device_type': 'gpu', 'precision_mode': 'origin'}, 'FP16')",
    ),
    "4.1-DeviceInfo-options": (
        show(
            "(register.AscendDeviceInfo(input_shape='x:1').input_shape, register.AscendDeviceInfo().input_format, "
            "register.GPUDeviceInfo(precision_mode='fp16').precision_mode)"
        ),
        "('x:1', '', 'fp16')",
    ),
    "4.1-CPUDeviceInfo-unsupported": ("register.CPUDeviceInfo(nonsense=1)", SET.format("cpu", "option")),
    "4.1-GPUDeviceInfo-unsupported": ("register.GPUDeviceInfo(nonsense=1)", SET.format("gpu", "option")),
    "4.1-AscendDeviceInfo-unsupported": (
        "register.AscendDeviceInfo(nonsense=1)",
        SET.format("ascend", "parameter"),
    ),
    "4.1-CPUDeviceInfo-value": (
        "register.CPUDeviceInfo(precision_mode='x')",
        "Cpu device info 'precision_mode' can only be 'origin', 'fp16'. given 'x'",
    ),
    "4.1-GPUDeviceInfo-value": (
        "register.GPUDeviceInfo(precision_mode='x')",
        "Gpu device info 'precision_mode' can only be 'origin', 'fp16'. given 'x'",
    ),
    "4.1-AclOptions-context": (
        show("register.AclOptions(output_type='FP32').context.model_context.device_list"),
        "[{'device_type': 'ascend', 'output_type': 'FP32'}]",
    ),
    "4.1-GpuOptions-context": (
        show("register.GpuOptions(precision_mode='origin').context.model_context.device_list"),
        "[{'device_type': 'gpu', 'precision_mode': 'origin'}]",
    ),
    "3.2-AclOptions-unsupported": ("register.AclOptions(nonsense=1)", SET.format("ascend", "parameter")),
    "3.2-AclOptions-setters": (
        "options = register.AclOptions()\n"
        "options.set_insert_op_cfg_path('a')\noptions.set_input_format('ND')\noptions.set_input_shape('b')\n"
        "options.set_output_type('UINT8')\noptions.set_precision_mode('allow_mix_precision')\n"
        "options.set_op_select_impl_mode('high_performance')\n"
        "RESULT = sorted(options.context.model_context.device_list[0].values())",
        "['ND', 'UINT8', 'a', 'allow_mix_precision', 'ascend', 'b', 'high_performance']",
    ),
    "3.2-GpuOptions-unsupported": ("register.GpuOptions(nonsense=1)", SET.format("gpu", "option")),
    "3.2-GpuOptions-enable_trt_infer": (
        show("register.GpuOptions(enable_trt_infer=True).context.model_context.device_list"),
        "[{'device_type': 'gpu'}]",
    ),
    # Names to import
    "1-register": (
        show(
            "[name for name in 'declare_model add_stage register_method Model Context CPUDeviceInfo GPUDeviceInfo "
            "AscendDeviceInfo AclOptions GpuOptions declare_servable call_preprocess call_servable call_postprocess "
            "call_preprocess_pipeline call_postprocess_pipeline PipelineServable register_pipeline'.split() "
            "if not hasattr(register, name)]"
        ),
        "[]",
    ),
    "12.2-typos": (
        show(
            "[name for name in ('call_pstprocess_pipeline', 'declare_sevable', 'decalre_model') "
            "if hasattr(register, name)]"
        ),
        "[]",
    ),
}
ASCEND_VALUES = {
    "input_format": ("ND", "NCHW", "NHWC", "CHWN", "NC1HWC0", "NHWC1C0"),
    "output_type": ("FP32", "FP16", "UINT8"),
    "precision_mode": ("force_fp16", "allow_fp32_to_fp16", "must_keep_origin_dtype", "allow_mix_precision"),
    "op_select_impl_mode": ("high_performance", "high_precision"),
    "buffer_optimize_mode": ("l1_optimize", "l2_optimize", "off_optimize", "l1_and_l2_optimize"),
}
for option, choices in ASCEND_VALUES.items():
    CASES[f"4.1-AscendDeviceInfo-{option}"] = (
        f"for value in {choices}:\n    register.AscendDeviceInfo({option}=value)\n"
        f"register.AscendDeviceInfo({option}='x')",
        f"Ascend device info '{option}' can only be "
        f"{', '.join(repr(choice) for choice in choices[:-1])} or {choices[-1]!r}, actually given 'x'",
    )

# A model shares no file with another one; in a servable of its own, whose models stay as they are.
SHARED_DECLARED = 'register.declare_model(["tensor_add_a.mindir", "tensor_add_b.mindir"], "MindIR")'
SHARED_FILES = ["1/tensor_add_a.mindir", "1/tensor_add_b.mindir"]
SHARED = {
    "4.1-registry-file-used": (
        declare('"tensor_add_b.mindir", "MindIR"'),
        "Raise failed: Declare model [tensor_add_b.mindir] failed, model file 'tensor_add_b.mindir' has already been "
        "used",
    ),
    "4.1-registry-same-model-of-two-files": (
        declare('["tensor_add_a.mindir", "tensor_add_b.mindir"], "MindIR"'),
        "Raise failed: Declare model [tensor_add_a.mindir;tensor_add_b.mindir] failed, model file "
        "'tensor_add_a.mindir' has already been used",
    ),
    "4.1-registry-format-any-case": (
        "for kind in ('om', 'OM', 'mindir', 'MINDIR', 'MindIR_Opt', 'mindir_lite'):\n"
        "    try:\n"
        "        register.declare_model('tensor_add_a.mindir', kind)\n"
        "    except RuntimeError as error:\n"
        f"        assert {FORMAT!r} not in str(error), kind",
        "no error",
    ),
}


@pytest.fixture(scope="module")
def attempts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("attempts")
    add_attempts(folder, "attempts", {name: source for name, (source, _) in CASES.items()}, DECLARED, FILES)
    add_attempts(
        folder,
        "shared",
        {name: source for name, (source, _) in SHARED.items()},
        SHARED_DECLARED,
        SHARED_FILES,
    )
    configs = ['".", "attempts", device_ids=0', '".", "shared", device_ids=1']
    with serving(folder, configs) as running:
        yield running


@pytest.mark.parametrize("case", [row(name, name) for name in CASES])
def test_what_is_told(attempts: RunningServer, case: str) -> None:
    assert agrees(case, told(attempts, "attempts", case), CASES[case][1])


@pytest.mark.parametrize("case", [row(name, name) for name in SHARED])
def test_files_of_models(attempts: RunningServer, case: str) -> None:
    assert told(attempts, "shared", case) == SHARED[case][1]
