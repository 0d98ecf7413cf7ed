"""Read the pickles of CIFAR without Python's pickle module, which runs what a file says.

A pickle is a program for a machine with a stack. This module is such a machine for the 26
instructions that Python 2 wrote into the official files. It calls nothing that a file names,
and it builds flat values only:

    dict:  bytes -> bytes, integer, list or array
    list:  of bytes and integers
    tuple: of bytes, integers, None, False, names, dtypes, and tuples that hold no tuple

So nothing nests deeper than a dict of arrays with a state, nothing can hold itself, and the
work is at most proportional to the bytes of the file.
"""

import pickletools
import struct
from collections.abc import Callable
from typing import Any

from fnnet.data.errors import DataError
from fnnet.data.pickle_machine import Machine, Name, PickledArray, PickledDtype


class SavedAgainError(DataError):
    """The pickle is written by Python 3, not by the Python 2 of the official files."""


RECONSTRUCT = Name("numpy.core.multiarray._reconstruct")
NDARRAY = Name("numpy.ndarray")
DTYPE = Name("numpy.dtype")
NAMES = {
    b"numpy.core.multiarray\n_reconstruct\n": RECONSTRUCT,
    b"numpy\nndarray\n": NDARRAY,
    b"numpy\ndtype\n": DTYPE,
}
OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
MAX_TUPLE = 8  # a dtype's state; short ones are looked through in no time
MAX_NAME = 200  # bytes of a name that is shown
UNNEEDED = "which no batch needs"
SAVED_AGAIN = "it was saved again by Python 3 and is not the official file: fetch that one"


def unpickle(raw: bytes, max_steps: int) -> dict[bytes, Any]:
    """Return the dict that a pickle of CIFAR holds; see the top of this module.

    Args:
        raw: the file.
        max_steps: instructions after which it must have ended.

    Raises:
        SavedAgainError: Python 3 wrote it.
        DataError: it holds anything else, or is damaged. No other error is raised.
    """
    machine = Machine(raw)
    for _ in range(max_steps):
        code = machine.byte()
        if code == STOP:
            value = machine.pop()
            if type(value) is not dict:
                raise DataError("it must hold a dict")
            return value
        action = ACTIONS.get(code)
        if action is None:
            raise unknown(code)
        action(machine)
    raise DataError(f"it holds more than {max_steps:,} instructions, {UNNEEDED}")


def unknown(code: int) -> DataError:
    """Return the error for an instruction that is not among ours."""
    opcode = OPCODES.get(chr(code))
    if opcode is None:
        return DataError(f"it is damaged, or not a pickle: 0x{code:02x} is not an instruction")
    message = f"it holds the instruction {opcode.name}, {UNNEEDED}"
    if opcode.proto >= 3 or opcode.name == "BINUNICODE":
        return SavedAgainError(f"{message}: {SAVED_AGAIN}")
    return DataError(message)


IN_LISTS = {bytes, int}  # not bool: True is not a number here
IN_DICTS = IN_LISTS | {list, PickledArray}
IN_FLAT_TUPLES = IN_LISTS | {type(None), bool, Name, PickledDtype}


def push(value: object) -> Callable[[Machine], None]:
    """Return the action that pushes a constant."""
    return lambda machine: machine.stack.append(value)


def push_number(form: str) -> Callable[[Machine], None]:
    """Return the action that pushes an integer."""
    packed = struct.Struct(form)
    return lambda machine: machine.stack.append(machine.number(packed))


def push_string(form: str) -> Callable[[Machine], None]:
    """Return the action that pushes a string, which stands behind its length."""
    packed = struct.Struct(form)
    return lambda machine: machine.string(machine.number(packed))


def put(form: str) -> Callable[[Machine], None]:
    """Return the action that notes the top of the stack under a number."""
    packed = struct.Struct(form)

    def action(machine: Machine) -> None:
        number = machine.number(packed)
        value = machine.pop()
        machine.stack.append(value)
        machine.memo[number] = value

    return action


def get(form: str) -> Callable[[Machine], None]:
    """Return the action that pushes what was noted under a number."""
    packed = struct.Struct(form)

    def action(machine: Machine) -> None:
        number = machine.number(packed)
        if number not in machine.memo:
            raise DataError(f"it is damaged: nothing was noted under {number}")
        machine.stack.append(machine.memo[number])

    return action


def push_tuple(machine: Machine, items: list[Any]) -> None:
    """Push a tuple; a tuple in it must hold no tuple."""
    if len(items) > MAX_TUPLE:
        raise DataError(f"it has a tuple of {len(items):,}, {UNNEEDED}")
    for item in items:
        if type(item) is tuple:
            if any(type(inner) is tuple for inner in item):
                raise DataError(f"it nests tuples, {UNNEEDED}")
        elif type(item) not in IN_FLAT_TUPLES:
            raise DataError(f"it has a {type(item).__name__} in a tuple, {UNNEEDED}")
    machine.stack.append(tuple(items))


def tuple_of(length: int) -> Callable[[Machine], None]:
    """Return the action that makes a tuple of the top of the stack."""

    def action(machine: Machine) -> None:
        items = [machine.pop() for _ in range(length)]
        push_tuple(machine, items[::-1])

    return action


def append(machine: Machine, items: list[Any]) -> None:
    """Append to the list on the top of the stack."""
    found = machine.top(list)
    for kind in {*map(type, items)} - IN_LISTS:
        raise DataError(f"it has a {kind.__name__} in a list, {UNNEEDED}")
    found.extend(items)


def set_items(machine: Machine, items: list[Any]) -> None:
    """Put keys and values into the dict on the top of the stack."""
    found = machine.top(dict)
    if len(items) % 2:
        raise DataError("it is damaged: it has a key without a value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) is not bytes or type(value) not in IN_DICTS:
            kinds = f"{type(key).__name__} -> {type(value).__name__}"
            raise DataError(f"it has {kinds} in a dict, {UNNEEDED}")
        found[key] = value


def push_name(machine: Machine) -> None:
    """Push one of the three names of NumPy that build an array."""
    start, end = machine.at, machine.at
    for _ in range(2):
        end = machine.raw.find(b"\n", end) + 1
        if end == 0:
            raise DataError("it is damaged: it ends too early")
    machine.at, words = end, machine.raw[start:end]
    if words not in NAMES:
        name = words[:MAX_NAME].decode(errors="replace").strip().replace("\n", ".")
        message = f"it reaches for {name!r}, {UNNEEDED}"
        if words == b"_codecs\nencode\n" or words.startswith(b"numpy._core."):
            raise SavedAgainError(f"{message}: {SAVED_AGAIN}")
        raise DataError(message)
    machine.stack.append(NAMES[words])


def reduce(machine: Machine) -> None:
    """Push an array or a dtype, still without its state."""
    arguments, function = machine.pop(), machine.pop()
    match function, arguments:
        case (Name() as name, (Name() as kind, (0,), b"b")) if (name, kind) == (
            RECONSTRUCT,
            NDARRAY,
        ):
            machine.stack.append(PickledArray())
        case (Name() as name, (bytes(code), int(), int())) if name == DTYPE:
            machine.stack.append(PickledDtype(code))
        case _:
            raise DataError(f"it makes something other than an array, {UNNEEDED}")


def build(machine: Machine) -> None:
    """Give the array or the dtype on the top of the stack its state, once."""
    state, value = machine.pop(), machine.pop()
    if type(value) not in (PickledArray, PickledDtype) or type(state) is not tuple or value.state:
        raise DataError(f"it fills something other than a new array, {UNNEEDED}")
    value.state = state
    machine.stack.append(value)


def skip_protocol(machine: Machine) -> None:
    """Skip the number of the protocol: the instructions tell what it is."""
    machine.byte()


STOP = ord(".")
ACTIONS: dict[int, Callable[[Machine], None]] = {
    ord(code): action
    for code, action in {
        b"\x80": skip_protocol,
        b"(": lambda machine: machine.marks.append(len(machine.stack)),
        b"N": push(None),
        b"\x89": push(False),
        b"J": push_number("<i"),
        b"M": push_number("<H"),
        b"K": push_number("<B"),
        b"T": push_string("<i"),
        b"U": push_string("<B"),
        b"t": lambda machine: push_tuple(machine, machine.pop_to_mark()),
        b"\x85": tuple_of(1),
        b"\x86": tuple_of(2),
        b"\x87": tuple_of(3),
        b"]": lambda machine: machine.stack.append([]),
        b"a": lambda machine: append(machine, [machine.pop()]),
        b"e": lambda machine: append(machine, machine.pop_to_mark()),
        b"}": lambda machine: machine.stack.append({}),
        b"s": lambda machine: set_items(machine, [machine.pop(), machine.pop()][::-1]),
        b"u": lambda machine: set_items(machine, machine.pop_to_mark()),
        b"q": put("<B"),
        b"r": put("<I"),
        b"h": get("<B"),
        b"j": get("<I"),
        b"c": push_name,
        b"R": reduce,
        b"b": build,
    }.items()
}
"""What Python 2 writes for a dict of strings, numbers, lists and arrays."""
