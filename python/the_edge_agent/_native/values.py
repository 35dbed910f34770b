"""Questions of the library about live values: paths, keys, comparisons, calls, copies (see `tea_host`).

Templates, conditions and Lua read Python's objects through these functions, one value at a time. Scalars cross as
they are, everything else as a reference under which the object is kept. An exception is the answer "cannot be
answered", with class and text as the reason: templates treat it like an error of their own.
"""

from __future__ import annotations

from _thread import get_ident
from array import array
from typing import TYPE_CHECKING, Any

from .host import _lent, _park, flows, keep, kept
from .library import ffi, lib, text

if TYPE_CHECKING:
    from collections.abc import Callable

_NULL = int(lib.TEA_VALUE_NULL)
_BOOL = int(lib.TEA_VALUE_BOOL)
_INT = int(lib.TEA_VALUE_INT)
_FLOAT = int(lib.TEA_VALUE_FLOAT)
_TEXT = int(lib.TEA_VALUE_TEXT)
_JSON = int(lib.TEA_VALUE_JSON)
_HOST = int(lib.TEA_VALUE_HOST)
_NOTHING = int(lib.TEA_VALUE_MISSING)
_HOST_ERROR = int(lib.TEA_ERR_HOST)

_ITEM = int(lib.TEA_LOOKUP_ITEM)
_ATTRIBUTE = int(lib.TEA_LOOKUP_ATTRIBUTE)
_ATTRIBUTE_ITEM = int(lib.TEA_LOOKUP_ATTRIBUTE_ITEM)

_WORD = (1 << 64) - 1
_SMALLEST, _LARGEST = -(1 << 63), (1 << 63) - 1

# No value: `None` is one.
MISSING: Any = object()

# Types of values that are no containers but have a form in JSON.
_DATES = ("date", "datetime")


def object_of(key: int) -> Any:
    """The object that the library knows under a number; the state itself for that of a flow."""
    found = kept.get(key, MISSING)
    return flows[key].state if found is MISSING else found


class _Objects:
    """The objects by number, as a mapping."""

    def __getitem__(self, key: int) -> Any:
        return object_of(key)


objects = _Objects()


def decode(json_text: str) -> Any:
    """The value of JSON text of the library."""
    from . import codec

    return codec.decode(json_text, objects)


def by_reference(value: Any) -> Any:
    """A value as a part of JSON: scalars as they are, what is kept here as a reference."""
    kind = type(value)
    if value is None or kind is bool or kind is int or kind is str:
        return value
    if kind is float:
        return value if value - value == 0 else {"$tea": ["f64", repr(value)]}
    if kind is dict or kind is list:
        return {"$tea": ["host", keep(value)]}
    if kind is bytes or (kind.__module__ == "datetime" and kind.__name__ in _DATES):
        from . import codec

        return codec.tagged(value)
    if isinstance(value, str) and _prints_as_itself(kind):
        return str.__str__(value)
    return {"$tea": ["host", keep(value)]}


def _prints_as_itself(kind: Any) -> bool:
    """Whether a subclass of `str` is a text like any other; an enumeration prints its name."""
    plain: bool = kind.__str__ is str.__str__
    return plain


def entries(value: dict[Any, Any]) -> Any:
    """A dictionary as a part of JSON, its values by reference."""
    if all(type(key) is str for key in value):
        plain = {key: by_reference(item) for key, item in value.items()}
        return {"$tea": ["esc", plain]} if len(plain) == 1 and "$tea" in plain else plain
    return {"$tea": ["map", [[by_reference(key), by_reference(item)] for key, item in value.items()]]}


def throughout(value: Any) -> Any:
    """A value as JSON, containers in full; what has no such form as a reference. Raises ValueError if it refers to
    itself."""
    try:
        return _throughout(value)
    except RecursionError:
        raise ValueError("Circular reference detected") from None


def _throughout(value: Any) -> Any:
    if isinstance(value, dict):
        if all(type(key) is str for key in value):
            plain = {key: _throughout(item) for key, item in value.items()}
            return {"$tea": ["esc", plain]} if len(plain) == 1 and "$tea" in plain else plain
        return {"$tea": ["map", [[_throughout(key), _throughout(item)] for key, item in value.items()]]}
    if isinstance(value, list):
        return [_throughout(item) for item in value]
    if isinstance(value, tuple):
        return {"$tea": ["tuple", [_throughout(item) for item in value]]}
    if isinstance(value, (set, frozenset)):
        return {"$tea": ["set", [_throughout(item) for item in value]]}
    return by_reference(value)


_encode: Callable[[Any], str] | None = None


def dumps(value: Any) -> bytes:
    """JSON text of what the functions above return."""
    global _encode
    if _encode is None:
        from json import JSONEncoder

        # `json.dumps` makes an encoder for each call.
        _encode = JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    return _encode(value).encode()


def _put(out: Any, value: Any) -> Any:
    """Writes a value; returns the buffer that must outlive it, if there is one."""
    kind = type(value)
    if kind is str:
        try:
            data = value.encode()
        except UnicodeEncodeError:
            # UTF-8 cannot hold lone surrogates.
            out.tag, out.bits = _HOST, keep(value)
            return None
        return _put_text(out, _TEXT, data)
    if kind is dict or kind is list:
        out.tag, out.bits = _HOST, keep(value)
    elif kind is int and _SMALLEST <= value <= _LARGEST:
        out.tag, out.bits = _INT, value & _WORD
    elif value is None:
        out.tag = _NULL
    elif kind is bool:
        out.tag, out.bits = _BOOL, value
    else:
        form = by_reference(value)
        if type(form) is dict and form["$tea"][0] == "host":
            out.tag, out.bits = _HOST, form["$tea"][1]
        else:
            return _put_text(out, _JSON, dumps(form))
    return None


def _put_text(out: Any, tag: int, data: bytes) -> Any:
    buffer = ffi.from_buffer("uint8_t[]", data)
    out.tag, out.ptr, out.len = tag, buffer, len(data)
    return buffer


def _answer(out: Any, value: Any) -> int:
    _lent[get_ident()] = _put(out, value)
    return 0


def _refuse(out: Any, error: Exception) -> int:
    """The answer to a question that cannot be answered: why."""
    reason = f"{type(error).__name__}: {error}".encode("utf-8", "backslashreplace")
    _lent[get_ident()] = _put_text(out, _TEXT, reason)
    return _HOST_ERROR


def _take(value: Any) -> Any:
    tag = value.tag
    if tag == _TEXT:
        return bytes(ffi.buffer(value.ptr, value.len)).decode() if value.len else ""
    if tag == _INT:
        bits: int = value.bits
        return bits if bits <= _LARGEST else bits - (1 << 64)
    if tag == _HOST:
        return object_of(value.bits)
    if tag == _JSON:
        return decode(bytes(ffi.buffer(value.ptr, value.len)).decode())
    if tag == _FLOAT:
        from struct import pack, unpack

        return unpack("d", pack("Q", value.bits))[0]
    return bool(value.bits) if tag == _BOOL else None


def _item(target: Any, key: Any) -> Any:
    try:
        return target.get(key, MISSING) if type(target) is dict else target[key]
    except (LookupError, TypeError, AttributeError):
        return MISSING


def _attribute(target: Any, name: Any) -> Any:
    try:
        if isinstance(target, dict):
            # Of a dictionary that answers its keys as attributes, only real attributes count here.
            return object.__getattribute__(target, name)
        return getattr(target, name)
    except (AttributeError, TypeError):
        return MISSING


def _look(target: Any, key: Any, how: int) -> Any:
    if how == _ITEM:
        return _item(target, key)
    if how == _ATTRIBUTE:
        return _attribute(target, key)
    first, second = (_attribute, _item) if how == _ATTRIBUTE_ITEM else (_item, _attribute)
    found = first(target, key)
    return second(target, key) if found is MISSING else found


def _compare(target: Any, other: Any) -> int:
    if target < other:
        return -1
    return 0 if target == other else 1


def _type_name(target: Any, _argument: Any) -> str:
    name = type(target).__name__
    # The library knows maps by these names.
    return "dict" if isinstance(target, dict) and name != "DotDict" else name


_QUERIES: dict[int, Callable[[Any, Any], Any]] = {
    int(lib.TEA_QUERY_LENGTH): lambda target, _: len(target),
    int(lib.TEA_QUERY_TRUTH): lambda target, _: bool(target),
    int(lib.TEA_QUERY_STR): lambda target, _: str(target),
    int(lib.TEA_QUERY_REPR): lambda target, _: repr(target),
    int(lib.TEA_QUERY_COMPARE): _compare,
    int(lib.TEA_QUERY_EQUAL): lambda target, other: bool(target == other),
    int(lib.TEA_QUERY_CONTAINS): lambda target, item: item in target,
    int(lib.TEA_QUERY_TYPE_NAME): _type_name,
    int(lib.TEA_QUERY_KEYS_REPR): lambda target, _: repr(list(target.keys())),
}


# Paths and values are read and written as machine words, many at once: each access to a member of a struct costs as
# much as all of them. A `tea_path` is two words, a `tea_step` and a `tea_value` are four.
_words_of = ffi.typeof("uint64_t *")
_bytes_of = ffi.typeof("char *")
_cast, _unpack = ffi.cast, ffi.unpack
assert ffi.sizeof("tea_path") == 16 and ffi.sizeof("tea_step") == ffi.sizeof("tea_value") == 32


def _follow(start: Any, steps: list[int]) -> Any:
    """The value at the end of a path; MISSING with the number of the step that led nowhere as a pair."""
    value = start
    for at in range(0, len(steps), 4):
        address, size, index, is_index = steps[at : at + 4]
        if is_index & 0xFF:
            value = _item(value, index if index <= _LARGEST else index - (1 << 64))
        else:
            key = _unpack(_cast(_bytes_of, address), size).decode() if size else ""
            if type(value) is dict:
                value = value.get(key, MISSING)
            else:
                found = _item(value, key)
                value = _attribute(value, key) if found is MISSING else found
        if value is MISSING:
            return (MISSING, at >> 2)
    return value


def _word(value: Any, texts: list[bytes], size: int) -> tuple[int, int, int, int]:
    """A value as words; the place of its text, which is appended to `texts`, counts from their beginning."""
    kind = type(value)
    if kind is str:
        try:
            data = value.encode()
        except UnicodeEncodeError:
            # UTF-8 cannot hold lone surrogates.
            return (_HOST, keep(value), 0, 0)
        texts.append(data)
        return (_TEXT, 0, size, len(data))
    if kind is int and _SMALLEST <= value <= _LARGEST:
        return (_INT, value & _WORD, 0, 0)
    if value is None:
        return (_NULL, 0, 0, 0)
    if kind is bool:
        return (_BOOL, int(value), 0, 0)
    if kind is tuple and len(value) == 2 and value[0] is MISSING:
        return (_NOTHING, value[1], 0, 0)
    form = by_reference(value)
    if type(form) is dict and form["$tea"][0] == "host":
        return (_HOST, form["$tea"][1], 0, 0)
    data = dumps(form)
    texts.append(data)
    return (_JSON, 0, size, len(data))


@ffi.def_extern(error=_HOST_ERROR, onerror=_park)  # type: ignore[untyped-decorator,unused-ignore]
def tea_py_resolve(_data: Any, root: int, paths: Any, n: int, out: Any) -> int:
    try:
        start = object_of(root)
        heads = _unpack(_cast(_words_of, paths), 2 * n)
        texts: list[bytes] = []
        words: list[int] = []
        size = 0
        for at in range(0, 2 * n, 2):
            count = heads[at + 1]
            steps = _unpack(_cast(_words_of, heads[at]), 4 * count) if count else []
            word = _word(_follow(start, steps), texts, size)
            words.extend(word)
            size += word[3]
        if texts:
            buffer = ffi.from_buffer(b"".join(texts))
            base = int(_cast("uintptr_t", buffer))
            for at in range(2, 4 * n, 4):
                if words[at + 1]:
                    words[at] += base
            _lent[get_ident()] = buffer
        ffi.memmove(out, array("Q", words), 32 * n)
    except Exception as error:
        return _refuse(out[0], error)
    return 0


@ffi.def_extern(error=_HOST_ERROR, onerror=_park)  # type: ignore[untyped-decorator,unused-ignore]
def tea_py_get(_data: Any, key: int, wanted: Any, how: int, out: Any) -> int:
    try:
        value = _look(object_of(key), _take(wanted), how)
        if value is MISSING:
            out.tag = _NOTHING
            return 0
        return _answer(out, value)
    except Exception as error:
        return _refuse(out, error)


@ffi.def_extern(error=_HOST_ERROR, onerror=_park)  # type: ignore[untyped-decorator,unused-ignore]
def tea_py_keys(_data: Any, key: int, out: Any) -> int:
    try:
        data = dumps([by_reference(item) for item in object_of(key)])
        _lent[get_ident()] = _put_text(out, _JSON, data)
    except Exception as error:
        return _refuse(out, error)
    return 0


@ffi.def_extern(error=_HOST_ERROR, onerror=_park)  # type: ignore[untyped-decorator,unused-ignore]
def tea_py_query(_data: Any, key: int, what: int, argument: Any, out: Any) -> int:
    try:
        other = None if argument == ffi.NULL else _take(argument)
        return _answer(out, _QUERIES[what](object_of(key), other))
    except Exception as error:
        return _refuse(out, error)


@ffi.def_extern(error=_HOST_ERROR, onerror=_park)  # type: ignore[untyped-decorator,unused-ignore]
def tea_py_call(_data: Any, key: int, method: Any, arguments: Any, out: Any) -> int:
    try:
        target, name = object_of(key), text(method)
        function = target if name == "__call__" else _attribute(target, name)
        if function is MISSING:
            kind = type(target)
            shown = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
            raise AttributeError(f"'{shown} object' has no attribute '{name}'")
        values = decode(text(arguments))
    except Exception as error:
        return _refuse(out, error)
    try:
        return _answer(out, function(*values))
    except AttributeError as error:
        # A failure within the method is no missing attribute of the template.
        return _refuse(out, RuntimeError(str(error)))
    except Exception as error:
        return _refuse(out, error)


@ffi.def_extern(error=_HOST_ERROR, onerror=_park)  # type: ignore[untyped-decorator,unused-ignore]
def tea_py_export_json(_data: Any, key: int, out: Any) -> int:
    try:
        _lent[get_ident()] = _put_text(out, _JSON, dumps(throughout(object_of(key))))
    except Exception as error:
        return _refuse(out, error)
    return 0


@ffi.def_extern(error=_HOST_ERROR, onerror=_park)  # type: ignore[untyped-decorator,unused-ignore]
def tea_py_import_json(_data: Any, json_text: Any, out: Any) -> int:
    out[0] = keep(decode(text(json_text)))
    return 0


@ffi.def_extern(error=_HOST_ERROR, onerror=_park)  # type: ignore[untyped-decorator,unused-ignore]
def tea_py_copy(_data: Any, key: int, deep: int, out: Any) -> int:
    target = object_of(key)
    if deep:
        from copy import deepcopy

        out[0] = keep(deepcopy(target))
    else:
        out[0] = keep(target.copy())
    return 0


@ffi.def_extern(error=_HOST_ERROR, onerror=_park)  # type: ignore[untyped-decorator,unused-ignore]
def tea_py_apply(_data: Any, key: int, delta: Any) -> int:
    target = kept.get(key, MISSING)
    if target is MISSING:
        flow = flows[key]
        if flow.updates is not None:
            # Decoded at once: what it refers to may be given back at the next step.
            flow.updates.append(decode(text(delta)))
            return 0
        target = flow.state
    target.update(decode(text(delta)))
    return 0


def fill(table: Any) -> None:
    """Puts the functions of this module into a `tea_host`."""
    table.resolve = lib.tea_py_resolve
    table.get = lib.tea_py_get
    table.keys = lib.tea_py_keys
    table.query = lib.tea_py_query
    table.call = lib.tea_py_call
    table.export_json = lib.tea_py_export_json
    table.import_json = lib.tea_py_import_json
    table.apply = lib.tea_py_apply
    table.copy = lib.tea_py_copy
