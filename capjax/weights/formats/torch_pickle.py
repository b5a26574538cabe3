"""The pickles inside PyTorch files, by a machine that can build tensors and nothing else.

A pickle is a program. Python's unpickler runs it; this one knows the instructions that plain
containers, numbers, tensors and the making of objects need. It imports nothing and calls nothing:
where the program asks for anything but a tensor, an inert `Strange` with its name stands instead.
All other instructions are refused.
"""

import dataclasses
import pickletools
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

DTYPES: Mapping[str, np.dtype] = {
    "Double": np.dtype("f8"),
    "Float": np.dtype("f4"),
    "Half": np.dtype("f2"),
    "BFloat16": np.dtype(ml_dtypes.bfloat16),
    "Long": np.dtype("i8"),
    "Int": np.dtype("i4"),
    "Short": np.dtype("i2"),
    "Char": np.dtype("i1"),
    "Byte": np.dtype("u1"),
    "Bool": np.dtype("?"),
}
"""Of `torch.<name>Storage`."""

ORDERED_DICT = "collections.OrderedDict"
DEFAULT_DICT = "collections.defaultdict"
TENSORS = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
PARAMETERS = ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
SCALAR_TYPES = frozenset(
    f"torch.{name}"
    for name in ("float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool").split()
)
ALLOWED = frozenset(
    {
        *(ORDERED_DICT, DEFAULT_DICT, *PARAMETERS, *TENSORS, *SCALAR_TYPES),
        *(f"torch.{name}Storage" for name in DTYPES),
    }
)


@dataclasses.dataclass(frozen=True)
class Named:
    """A name of `ALLOWED` that the pickle asks for; never the thing itself."""

    name: str


@dataclasses.dataclass(frozen=True)
class Storage:
    """Where the numbers of tensors lie: a run of `elements` of one type, by the file's key."""

    key: str
    dtype: np.dtype
    elements: int


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A view of a storage; offset and strides in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Strange:
    """Stands for what the pickle asks for and is never made: a class, a function, its result.

    Attributes:
      name: of the class or function.
      parts: what it would have been made of; tensors among them lie in the file all the same.
    """

    name: str
    parts: list[Any] = dataclasses.field(default_factory=list)


class RefusedError(ValueError):
    """The pickle asks for something that no file of weights needs."""


def load(stream: BinaryIO) -> Any:
    """Loads the object of one pickle without running it.

    It is made of containers, numbers, texts, descriptions `Tensor` and `Storage`, and `Strange` for
    all else.

    The stream stands after the pickle when done.

    Raises:
      RefusedError: the pickle holds other instructions; nothing was run.
      ValueError: it is damaged.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "STOP":
                return machine.pop()
            machine.do(opcode.name, argument)
    except RefusedError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"damaged pickle ({error})") from error
    raise ValueError("damaged pickle (it has no end)")


_MARK = object()
_KEYS = (str, bytes, int, float, type(None), Named, Strange)

_CONSTANTS: Mapping[str, Callable[[], Any]] = {
    "MARK": lambda: _MARK,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": list,
}
_VALUES = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING"
    " UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 SHORT_BINBYTES BINBYTES BINBYTES8".split()
)
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Machine:
    """A stack, a memo, and the instructions that need no imports."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def do(self, name: str, argument: Any) -> None:
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _VALUES:
            self.stack.append(argument)
        elif name in _TUPLES:
            self.stack.append(tuple(reversed([self.pop() for _ in range(_TUPLES[name])])))
        elif name in ("TUPLE", "LIST", "FROZENSET"):
            values = self.pop_to_mark()
            self.stack.append(tuple(values) if name == "TUPLE" else values)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if name == "MEMOIZE" else argument] = self.top(object)
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name not in ("PROTO", "FRAME"):
            self.build(name, argument)

    def build(self, name: str, argument: Any) -> None:
        if name == "DICT":
            values = self.pop_to_mark()
            self.stack.append({})
            self.set_items(values)
        elif name in ("SETITEM", "SETITEMS"):
            pair = [self.pop(), self.pop()][::-1] if name == "SETITEM" else self.pop_to_mark()
            self.set_items(pair)
        elif name in ("APPEND", "APPENDS", "ADDITEMS"):
            values = [self.pop()] if name == "APPEND" else self.pop_to_mark()
            held = self.top(list, Strange)
            (held.parts if isinstance(held, Strange) else held).extend(values)
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            if name == "STACK_GLOBAL":
                argument = " ".join([str(self.pop()), str(self.pop())][::-1])
            self.stack.append(_named(argument))
        elif name == "BINPERSID":
            self.stack.append(_storage(self.pop()))
        elif name == "REDUCE":
            arguments, function = self.pop(), self.pop()
            self.stack.append(_call(function, arguments))
        elif name in ("NEWOBJ", "NEWOBJ_EX"):
            named = self.pop() if name == "NEWOBJ_EX" else {}
            arguments, kind = self.pop(), self.pop()
            if not isinstance(kind, Strange):
                raise RefusedError(f"the pickle makes a {_shown(kind)}, which no tensor needs")
            self.stack.append(Strange(kind.name, [kind, arguments, named]))
        elif name == "BUILD":
            state = self.pop()  # of a state dict `_metadata`: versions of modules
            held = self.top(dict, Strange)
            if isinstance(held, Strange):
                held.parts.append(state)
        else:
            raise RefusedError(f"the pickle holds the instruction {name}, which no tensor needs")

    def set_items(self, values: list[Any]) -> None:
        keys = values[::2]
        if len(values) % 2 or not all(isinstance(key, _KEYS) for key in keys):
            raise ValueError("keys of a dictionary are missing or of an odd kind")
        held = self.top(dict, Strange)
        if isinstance(held, Strange):
            held.parts.extend(values)
        else:
            held.update(zip(keys, values[1::2], strict=True))

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value should be")
        return value

    def pop_to_mark(self) -> list[Any]:
        values: list[Any] = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def top(self, *kinds: type) -> Any:
        value = self.stack[-1]
        if value is _MARK or not isinstance(value, kinds):
            raise ValueError(f"expected {kinds[0].__name__}, got {type(value).__name__}")
        return value


def _named(module_and_name: str) -> Named | Strange:
    name = ".".join(module_and_name.split(" ", 1))
    return Named(name) if name in ALLOWED else Strange(name)


def _storage(identity: Any) -> Storage:
    """Of ("storage", type, key, device, elements[, view]), as torch.save writes it."""
    if isinstance(identity, tuple) and identity[:1] == ("module",):
        raise RefusedError("the pickle holds a whole module with its code, not a state dict")
    kind, storage, key, _, elements, *view = identity
    if kind != "storage" or any(each is not None for each in view):
        raise ValueError(f"got a reference of kind {kind!r}; expected a whole storage")
    if isinstance(storage, Strange):
        raise RefusedError(f"the pickle asks for {storage.name}, which no tensor needs")
    if not isinstance(storage, Named) or not storage.name.endswith("Storage"):
        raise ValueError("a reference to a storage without a type")
    dtype = DTYPES[storage.name.removeprefix("torch.").removesuffix("Storage")]
    return Storage(_checked(key, str), dtype, _count(elements))


def _call(function: Any, arguments: Any) -> Any:
    if isinstance(function, Strange):
        return Strange(function.name, [function, arguments])
    if not isinstance(function, Named) or not isinstance(arguments, tuple):
        raise RefusedError(f"the pickle calls a {type(function).__name__}, which no tensor needs")
    if function.name == ORDERED_DICT and not arguments:
        return {}
    if function.name == ORDERED_DICT and len(arguments) == 1:  # Python 2: a list of pairs
        pairs = _checked(arguments[0], list)
        return {_checked(key, str): value for key, value in pairs}
    if function.name == DEFAULT_DICT:
        return {}  # its items follow; of the call to make missing ones nothing is kept
    if function.name in TENSORS:
        storage, offset, shape, strides, *_ = arguments
        axes = tuple(_count(side) for side in shape), tuple(_count(step) for step in strides)
        if len(axes[0]) != len(axes[1]):
            raise ValueError(f"a tensor of shape {axes[0]} has strides {axes[1]}")
        return Tensor(_checked(storage, Storage), _count(offset), *axes)
    if function.name in PARAMETERS:
        return _checked(arguments[0], Tensor)
    raise RefusedError(
        f"the pickle calls {function.name}, which is not a function that makes tensors"
    )


def _shown(value: Any) -> str:
    return value.name if isinstance(value, Named | Strange) else type(value).__name__


def _checked(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"expected {kind.__name__}, got {type(value).__name__}")
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**62:
        raise ValueError(f"expected a count, got {value!r:.40}")
    return value
