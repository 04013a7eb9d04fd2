import functools
import itertools

import numpy as np

from mindspore_serving.server import register

add = register.declare_model("tensor_add.mindir", "MindIR", with_batch_dim=False)
sub = register.declare_model("tensor_sub.mindir", "MindIR", with_batch_dim=False)
batch_add = register.declare_model("tensor_add_2_1.mindir", "MindIR")
batch_sub = register.declare_model("tensor_sub_2_1.mindir", "MindIR")
two_outputs = register.declare_model("tensor_add_3_2.mindir", "MindIR", with_batch_dim=False)
shared = register.declare_model("tensor_add_shared.mindir", "MindIR", without_batch_dim_inputs=(1,))


def method(name, function, batch_size=None, outputs=1):
    """A method with the input x, one stage, and the outputs y, or y0, y1 and so on."""

    def one_stage(x):
        return register.add_stage(function, x, outputs_count=outputs, batch_size=batch_size)

    one_stage.__name__ = name
    names = ["y"] if outputs == 1 else [f"y{i}" for i in range(outputs)]
    register.register_method(output_names=names)(one_stage)


# Functions for one instance.


def plus_one(x):
    return x + 1


def minus_one(x):
    return x - 1


def pair_tuple(x):
    return x, x * 2


def pair_list(x):
    return [x, x * 2]


def one_in_a_tuple(x):
    return (x,)


def one_in_a_list(x):
    return [x]


def seen(x):
    if isinstance(x, np.ndarray):
        return f"ndarray {x.dtype} {x.shape} writable={x.flags.writeable}"
    return f"{type(x).__name__} {x!r}"


def overwrite(x):
    x[...] = 5
    return x


method("plus_one", plus_one)
method("pair_tuple", pair_tuple, outputs=2)
method("pair_list", pair_list, outputs=2)
method("one_in_a_tuple", one_in_a_tuple)
method("one_in_a_list", one_in_a_list)
method("seen", seen)
method("overwrite", overwrite)
method("through_lambda", lambda x: x * 3)


# Functions for batches.


def plus_one_list(instances):
    return [x + 1 for (x,) in instances]


def plus_one_tuple(instances):
    return tuple((x + 1,) for (x,) in instances)


def plus_one_generator(instances):
    for instance in instances:
        yield instance[0] + 1


def plus_one_iterator(instances):
    return map(lambda instance: [instance[0] + 1], instances)  # noqa: C417 - an iterator that is no generator


def pair_generator(instances):
    for (x,) in instances:
        yield x, x * 2


def each_instance(function):
    """A batch function made of a function of one instance."""

    @functools.wraps(function)
    def batch(instances):
        for instance in instances:
            yield function(*instance)

    return batch


def given_one(function):
    """Gives a function one more input than the stage does."""

    @functools.wraps(function)
    def with_one(x):
        return function(x, 1)

    return with_one


@each_instance
def plus_one_decorated(x):
    return x + 1


@each_instance
def pair_decorated(x, unused=None):
    return x + 1, x + 2


@given_one
def plus_given(x, more):
    return x + more


def size(instances):
    assert isinstance(instances, tuple), type(instances)
    assert all(isinstance(instance, tuple) for instance in instances)
    return [len(instances)] * len(instances)


def size_of_4(instances):
    return size(instances)


def size_of_1(instances):
    return size(instances)


def without_end(instances):
    yield from itertools.chain((x for (x,) in instances), itertools.count())


def longer_list(instances):
    return [x for (x,) in instances] + [None, "more"]


def longer_iterator(instances):
    return iter(longer_list(instances))


def one_array(instances):
    return np.stack([x for (x,) in instances])


method("batch_list", plus_one_list, 4)
method("batch_tuple", plus_one_tuple, 4)
method("batch_generator", plus_one_generator, 4)
method("batch_iterator", plus_one_iterator, 4)
method("batch_pair", pair_generator, 4, outputs=2)
method("batch_decorated", plus_one_decorated, 4)
method("batch_decorated_pair", pair_decorated, 4, outputs=2)
method("decorated_with_more", plus_given)
method("batch_size_4", size_of_4, 4)
method("batch_size_1", size_of_1, 1)
method("without_end", without_end, 4)
method("longer_list", longer_list, 4)
method("longer_iterator", longer_iterator, 4)
method("one_array", one_array, 4)


def size_auto(instances):
    return size(instances)


@register.register_method(output_names=["y", "size"])
def batch_size_of_the_model(x1, x2):
    n = register.add_stage(size_auto, x1, outputs_count=1, batch_size=0)
    y = register.add_stage(batch_add, x1, x2, outputs_count=1)
    return y, n


# Models.


@register.register_method(output_names=["y"])
def model_without_batch(x1, x2):
    return register.add_stage(add, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def model_with_batch(x1, x2):
    return register.add_stage(batch_add, x1, x2, outputs_count=1)


@register.register_method(output_names=["y0", "y1"])
def model_of_two_outputs(x1, x2, x3):
    return register.add_stage(two_outputs, x1, x2, x3, outputs_count=2)


@register.register_method(output_names=["y"])
def model_with_shared_input(x1, x2):
    return register.add_stage(shared, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def add_then_sub(x1, x2, x3):
    y = register.add_stage(add, x1, x2, outputs_count=1)
    return register.add_stage(sub, y, x3, outputs_count=1)


@register.register_method(output_names=["y"])
def batch_add_then_sub(x1, x2, x3):
    y = register.add_stage(batch_add, x1, x2, outputs_count=1)
    return register.add_stage(batch_sub, y, x3, outputs_count=1)


@register.register_method(output_names=["y"])
def functions_around_models(x1, x2, x3):
    x1 = register.add_stage(plus_one, x1, outputs_count=1)
    y = register.add_stage(add, x1, x2, outputs_count=1)
    y = register.add_stage(plus_one, y, outputs_count=1)
    y = register.add_stage(sub, y, x3, outputs_count=1)
    return register.add_stage(minus_one, y, outputs_count=1)


@register.register_method(output_names=["sum", "difference", "x1", "one_more"])
def a_graph_of_stages(x1, x2):
    total = register.add_stage(add, x1, x2, outputs_count=1)
    one_more = register.add_stage(plus_one, x1, outputs_count=1)
    difference = register.add_stage(sub, total, one_more, outputs_count=1)
    return total, difference, x1, one_more


@register.register_method(output_names=["y"])
def a_loop_of_stages(x):
    for _ in range(10):
        x = register.add_stage(plus_one, x, outputs_count=1)
    return x


@register.register_method(output_names=["y"])
def argmax(x):
    return register.add_stage("argmax_cpp", x, outputs_count=1)


@register.register_method(output_names=["y"])
def argmax_of_a_model(x1, x2):
    y = register.add_stage(batch_add, x1, x2, outputs_count=1)
    return register.add_stage("argmax_cpp", y, outputs_count=1)


# Model.call


def call_one(x1, x2):
    return add.call(x1, x2)


def call_batch_one(x1, x2):
    return batch_add.call(x1, x2)


def call_many(instances):
    return batch_add.call([list(instance) for instance in instances])


def call_five(x1, x2):
    got = batch_add.call([[x1 * i, x2] for i in range(5)])
    assert type(got) is tuple and all(type(one) is tuple and len(one) == 1 for one in got), got
    return np.array([y for (y,) in got])


def call_two_outputs(x1, x2):
    one = two_outputs.call(x1, x2, x2)
    assert type(one) is tuple and len(one) == 2, one
    many = two_outputs.call(((x1, x2, x2), [x2, x2, x2]))
    assert type(many) is tuple and [len(each) for each in many] == [2, 2], many
    return one[0], many[0][1]


def call_then_use(x1, x2):
    y = add.call(x1, x2)
    return sub.call(y, x2)


@register.register_method(output_names=["y"])
def calls_one(x1, x2):
    return register.add_stage(call_one, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def calls_batch_one(x1, x2):
    return register.add_stage(call_batch_one, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def calls_many(x1, x2):
    return register.add_stage(call_many, x1, x2, outputs_count=1, batch_size=8)


@register.register_method(output_names=["y"])
def calls_five(x1, x2):
    return register.add_stage(call_five, x1, x2, outputs_count=1)


@register.register_method(output_names=["y0", "y1"])
def calls_two_outputs(x1, x2):
    return register.add_stage(call_two_outputs, x1, x2, outputs_count=2)


@register.register_method(output_names=["y"])
def calls_and_stages(x1, x2):
    y = register.add_stage(call_then_use, x1, x2, outputs_count=1)
    y = register.add_stage(add, y, x2, outputs_count=1)
    return register.add_stage(call_one, y, x2, outputs_count=1)


def wrong_call(which, x1):
    wide = np.ones((3, 2), np.float32)
    calls = {
        "nothing": lambda: add.call(),
        "list of values": lambda: add.call([x1, x1]),
        "tuple of values": lambda: add.call((x1, x1)),
        "list and value": lambda: add.call([[x1, x1], x1]),
        "empty list": lambda: add.call([]),
        "empty tuple": lambda: add.call(()),
        "not declared": lambda: register.model.Model("other.mindir").call(x1),
        "subgraph 1": lambda: add.call(x1, x1, subgraph=1),
        "subgraph 1 of many": lambda: add.call([[x1, x1]], subgraph=1),
        "one input": lambda: add.call(x1),
        "three inputs": lambda: add.call(x1, x1, x1),
        "second has one input": lambda: add.call([[x1, x1], [x1]]),
        "wide": lambda: add.call(wide, x1),
        "second is wide": lambda: add.call([[x1, x1], [x1, wide]]),
        "batch model": lambda: batch_add.call(x1, x1),
        "int32": lambda: add.call(x1.astype(np.int32), x1),
        "text": lambda: add.call("text", x1),
        "none": lambda: add.call(None, x1),
    }
    return calls[which]()


def caught(which, x1):
    try:
        wrong_call(which, x1)
    except RuntimeError as error:
        return str(error)
    return "no error"


@register.register_method(output_names=["y"])
def caught_call(which, x1):
    return register.add_stage(caught, which, x1, outputs_count=1)


@register.register_method(output_names=["y"])
def failed_call(which, x1):
    return register.add_stage(wrong_call, which, x1, outputs_count=1)


# One object on its way through several stages.

kept = []


class Matrix(np.ndarray):
    """An array class of a user."""


def make(x):
    y = x + 1
    kept[:] = [id(y)]
    return y


def make_and_keep(x):
    kept[:] = [x + 1]
    return kept[0]


def make_matrix(x):
    kept[:] = [(x + 1).view(Matrix)]
    return kept[0]


def make_strided(x):
    kept[:] = [(x + 1).T[::-1]]
    return kept[0]


def make_text(x):
    kept[:] = ["text" + str(x.size)]
    return kept[0]


def is_kept(y):
    return y is kept[0] or (type(kept[0]) is int and id(y) == kept[0])


def type_name(y):
    return type(y).__name__


def mutate(y):
    y[0] = 123
    return 0


def second_of(y, _):
    return y


def method_with_the_same(name, function):
    def two_stages(x):
        y = register.add_stage(function, x, outputs_count=1)
        same = register.add_stage(is_kept, y, outputs_count=1)
        return same, register.add_stage(type_name, y, outputs_count=1), y

    two_stages.__name__ = name
    register.register_method(output_names=["same", "type", "y"])(two_stages)


method_with_the_same("same_array", make)
method_with_the_same("kept_array", make_and_keep)
method_with_the_same("same_matrix", make_matrix)
method_with_the_same("same_strided", make_strided)
method_with_the_same("same_text", make_text)


@register.register_method(output_names=["y", "later"])
def changes_in_place(x):
    y = register.add_stage(plus_one, x, outputs_count=1)
    done = register.add_stage(mutate, y, outputs_count=1)
    later = register.add_stage(second_of, y, done, outputs_count=1)
    return y, later


def text_upper(text):
    assert type(text) is str
    return text.upper()


@register.register_method(output_names=["y"])
def text_through_two_stages(x):
    x = register.add_stage(text_upper, x, outputs_count=1)
    return register.add_stage(text_upper, x, outputs_count=1)


def as_bytes(x):
    return x.tobytes()


@register.register_method(output_names=["type"])
def bytes_from_an_earlier_stage(x):
    y = register.add_stage(as_bytes, x, outputs_count=1)
    return register.add_stage(type_name, y, outputs_count=1)


# Outputs of every kind.


class LikeATensor:
    def asnumpy(self):
        return np.arange(3, dtype=np.int16)


class FailsToConvert:
    def asnumpy(self):
        raise ValueError("no array today")


class FailsAsAnArray:
    def __array__(self, *args, **kwargs):
        raise ValueError("no array today")


class NoArrayAtAll:
    def asnumpy(self):
        return "text"


OUTPUTS = {
    "bool": True,
    "int": 7,
    "negative int": -(1 << 63),
    "float": 1.5,
    "str": "h\u00e9llo",
    "empty str": "",
    "bytes": b"a\xff",
    "empty bytes": b"",
    "generic float16": np.float16(1.5),
    "generic bool": np.bool_(True),
    "generic uint64": np.uint64((1 << 64) - 1),
    "array of no dims": np.array(3, np.int8),
    "fortran order": np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
    "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "sliced": np.arange(10, dtype=np.int64)[::3],
    "reversed": np.arange(4, dtype=np.uint8)[::-1],
    "broadcast": np.broadcast_to(np.float64(2), (2, 3)),
    "big endian": np.arange(3, dtype=">i4"),
    "empty array": np.zeros((2, 0), np.float16),
    "with asnumpy": LikeATensor(),
    "nested list": ([[1.5, 2.5]],),
    "nested tuple": ((1, 2, 3),),
    "None": None,
    "dict": {"a": 1},
    "set": {1},
    "object": object(),
    "function": len,
    "object array": np.array([1, None], object),
    "array of str": np.array(["a", "b"]),
    "complex": 1j,
    "complex array": np.array([1j]),
    "ragged list": ([[1, 2], [3]],),
    "list of None": ([None],),
    "int too large": 1 << 63,
    "int far too large": 1 << 200,
    "int too small": -(1 << 63) - 1,
    "date": np.datetime64("2020-01-01"),
    "lone surrogate": "\ud800",
    "asnumpy raises": FailsToConvert(),
    "__array__ raises": FailsAsAnArray(),
    "asnumpy gives text": NoArrayAtAll(),
}


def give(which):
    return OUTPUTS[which]


def give_batch(instances):
    for (which,) in instances:
        yield OUTPUTS[which]


method("give", give)
method("give_batch", give_batch, 8)


# What goes wrong.


def negative_raises(x):
    if (x < 0).any():
        raise ValueError(f"negative: {float(x.min())}")
    return x


def negative_raises_list(instances):
    return [negative_raises(x) for (x,) in instances]


def negative_raises_generator(instances):
    for (x,) in instances:
        yield negative_raises(x)


def batch_raises(instances):
    raise ValueError("no batch at all")


def batch_none(instances):
    return None


def batch_number(instances):
    return 7


def batch_none_items(instances):
    return [None for _ in instances]


def batch_stops(instances):
    for (x,) in instances:
        if (x < 0).any():
            return
        yield x


def batch_empty(instances):
    return []


def two_for_one(x):
    return x, x


def one_for_two(x):
    return x


def three_for_two(x):
    return [x, x, x]


def none_for_two(x):
    return ()


def batch_sometimes_two(instances):
    for (x,) in instances:
        yield (x, x) if (x < 0).any() else x


class Odd(Exception):
    def __str__(self):
        return "odd text \udcff"


class WithoutText(Exception):
    def __str__(self):
        raise ValueError("no text")


ERRORS = {
    "empty": ValueError(),
    "lines": ValueError("two\nlines"),
    "not ascii": ValueError("\u00e9\U0001f600"),
    "key": KeyError("k"),
    "exit": SystemExit("bye"),
    "generator exit": GeneratorExit("gone"),
    "base": BaseException("base"),
    "stop": StopIteration("enough"),
    "surrogate": Odd(),
    "without text": WithoutText(),
    "memory": MemoryError("no room"),
}


def raise_it(which):
    raise ERRORS[which]


def raise_it_in_a_batch(instances):
    for (which,) in instances:
        yield raise_it(which)


def recurse(x):
    return recurse(x)


method("negative_raises", negative_raises)
method("negative_raises_list", negative_raises_list, 8)
method("negative_raises_generator", negative_raises_generator, 8)
method("batch_raises", batch_raises, 8)
method("batch_none", batch_none, 8)
method("batch_number", batch_number, 8)
method("batch_none_items", batch_none_items, 8)
method("batch_stops", batch_stops, 8)
method("batch_empty", batch_empty, 8)
method("two_for_one", two_for_one)
method("one_for_two", one_for_two, outputs=2)
method("three_for_two", three_for_two, outputs=2)
method("none_for_two", none_for_two, outputs=2)
method("batch_sometimes_two", batch_sometimes_two, 8)
method("raise_it", raise_it)
method("raise_it_in_a_batch", raise_it_in_a_batch, 8)
method("recurse", recurse)


@register.register_method(output_names=["y"])
def raises_in_stage_3(x):
    x = register.add_stage(plus_one, x, outputs_count=1)
    x = register.add_stage(minus_one, x, outputs_count=1)
    return register.add_stage(negative_raises, x, outputs_count=1)


@register.register_method(output_names=["y"])
def raises_before_a_model(x1, x2):
    x1 = register.add_stage(negative_raises, x1, outputs_count=1)
    return register.add_stage(add, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def model_then_raises(x1, x2):
    y = register.add_stage(add, x1, x2, outputs_count=1)
    return register.add_stage(negative_raises, y, outputs_count=1)


@register.register_method(output_names=["y"])
def wrong_shape_for_the_model(x1, x2):
    x1 = register.add_stage(plus_one, x1, outputs_count=1)
    return register.add_stage(add, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def with_a_tag(x):
    return register.add_stage(negative_raises, x, outputs_count=1, tag="My stage")
