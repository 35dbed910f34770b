"""Checkpoint files: names, safe writing, reading, and finding what cannot be stored.

A file holds one pickled dict with the keys `state`, `node`, `config`, `timestamp`, `version`. Files in the
engine's JSON form are recognised by their first byte when read.
"""

from __future__ import annotations

import os
import pickle
import stat
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

__all__ = [
    "PICKLE_POLICY_VARIABLE",
    "atomic_write",
    "encode_node_name",
    "explain_unpicklable",
    "read_checkpoint",
    "unique_path",
    "write_checkpoint",
]

PICKLE_POLICY_VARIABLE = "TEA_CHECKPOINT_PICKLE"

REQUIRED_KEYS = ("state", "node", "config", "timestamp", "version")

StrPath = str | os.PathLike[str]


# ---------------------------------------------------------------------------------------------------
# File names

_FORBIDDEN = frozenset("/\\\0") | (frozenset('<>:"|?*') if os.name == "nt" else frozenset())


def encode_node_name(node: object) -> str:
    """The node's name as part of a file name: what a file name cannot hold is percent-encoded.

    Other characters, the percent sign included, stay as they are.
    """
    name = str(node)
    if not any(_must_encode(c) for c in name):
        return name
    return "".join(
        "".join(f"%{b:02X}" for b in c.encode("utf-8", "surrogatepass")) if _must_encode(c) else c
        for c in name
    )


def _must_encode(char: str) -> bool:
    return char in _FORBIDDEN or "\ud800" <= char <= "\udfff" or (os.name == "nt" and char < " ")


_issued_lock = threading.Lock()
_issued_ms = -1
_issued: set[str] = set()


def unique_path(directory: StrPath, node: object, ms: int, suffix: str = ".pkl") -> str:
    """`{directory}/{node}_{ms}{suffix}`, with `-1`, `-2`, ... after the milliseconds if that name is taken.

    A name counts as taken when the file exists or when this process handed it out in the same
    millisecond. The node's name is encoded by `encode_node_name`.
    """
    global _issued_ms
    stem = os.path.join(os.fspath(directory), f"{encode_node_name(node)}_{ms}")
    with _issued_lock:
        # A clock that was set back must not make the set grow without end.
        if ms > _issued_ms or len(_issued) > 10_000:
            _issued_ms = ms
            _issued.clear()
        path, k = stem + suffix, 0
        while path in _issued or os.path.lexists(path):
            k += 1
            path = f"{stem}-{k}{suffix}"
        _issued.add(path)
    return path


# ---------------------------------------------------------------------------------------------------
# Writing


def write_checkpoint(path: StrPath, record: dict[str, Any]) -> None:
    """Pickle `record` into `path`; missing folders are made (mode 0700), the file gets mode 0600.

    The file appears complete or not at all. Raises `OSError` from the file system, and what pickling
    raises; a `PicklingError`, `AttributeError` or `TypeError` names the place and type of the value in the
    way and has the original as its cause.
    """
    atomic_write(path, _dump(record))


def _dump(record: dict[str, Any]) -> bytes:
    try:
        return pickle.dumps(record)
    except (pickle.PicklingError, AttributeError, TypeError) as e:
        found = explain_unpicklable(record.get("state"), "state") or explain_unpicklable(
            record.get("config"), "config"
        )
        kind = type(e)
        if found is None or kind not in (pickle.PicklingError, AttributeError, TypeError):
            raise
        raise kind(f"{e} (in {found})") from e


def atomic_write(path: StrPath, data: bytes) -> None:
    """Write `data` to a temporary file in the target's folder, flush it to disk, rename it to `path`.

    On failure nothing is left behind and an existing file keeps its contents. A symbolic link is
    followed; a device or pipe is written to directly, because renaming would replace it.
    """
    target = os.fspath(path)
    try:
        mode = os.lstat(target).st_mode
        if stat.S_ISLNK(mode):
            target = os.path.realpath(target)
            mode = os.stat(target).st_mode
    except FileNotFoundError:
        _make_folders(os.path.dirname(target))
    else:
        if not stat.S_ISREG(mode):
            with open(target, "wb") as f:
                f.write(data)
            return
    temporary = os.path.join(os.path.dirname(target), f".tea-{os.urandom(8).hex()}.tmp")
    descriptor = os.open(temporary, _CREATE_FLAGS, 0o600)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


_CREATE_FLAGS = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
)


def _make_folders(folder: str) -> None:
    # `os.makedirs` would give only the innermost folder the private mode.
    missing = []
    while folder and not os.path.isdir(folder):
        missing.append(folder)
        parent = os.path.dirname(folder)
        if parent == folder:
            break
        folder = parent
    for name in reversed(missing):
        try:
            os.mkdir(name, 0o700)
        except FileExistsError:
            if not os.path.isdir(name):
                raise


# ---------------------------------------------------------------------------------------------------
# Reading


def read_checkpoint(path: StrPath, decode_json: Callable[[bytes], Any] | None = None) -> dict[str, Any]:
    """Read a checkpoint file written by `write_checkpoint`, by the reference, or in the JSON form.

    `decode_json` turns the bytes of a JSON checkpoint into a record (default: `json.loads`). The
    environment variable `TEA_CHECKPOINT_PICKLE` limits pickles: `restricted` accepts plain data and the
    package's own result classes, `deny` accepts none; unset accepts all.

    Raises `FileNotFoundError` if there is no file, otherwise `ValueError` with the cause.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as f:
            data = f.read()
    except FileNotFoundError as e:
        raise FileNotFoundError(f"Checkpoint file not found: '{name}'") from e
    except (OSError, ValueError) as e:  # ValueError: a NUL in the name
        raise ValueError(f"Failed to read checkpoint file '{name}': {e}") from e
    decode = _json_decoder(decode_json) if data[:1] == b"{" else _pickle_decoder(name)
    try:
        record = decode(data)
    except Exception as e:
        raise ValueError(f"Corrupt or incompatible checkpoint file '{name}': {e}") from e
    if not isinstance(record, dict):
        kind = type(record).__name__
        # ValueError, not TypeError: what is wrong is the file.
        raise ValueError(f"Invalid checkpoint format in '{name}': expected dict, got {kind}")
    missing = {key for key in REQUIRED_KEYS if key not in record}
    if missing:
        raise ValueError(f"Incompatible checkpoint file '{name}': missing keys {missing}")
    return record


def _json_decoder(decode_json: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    if decode_json is not None:
        return decode_json
    from json import loads

    return loads


def _pickle_decoder(name: str) -> Callable[[bytes], Any]:
    policy = os.environ.get(PICKLE_POLICY_VARIABLE, "")
    if policy == "":
        return pickle.loads
    if policy == "restricted":
        return _restricted_loads
    if policy == "deny":
        raise ValueError(
            f"Refused to read checkpoint file '{name}': it is not JSON, and {PICKLE_POLICY_VARIABLE}=deny "
            "forbids pickle"
        )
    # A misspelt restriction must not open the door.
    raise ValueError(
        f"{PICKLE_POLICY_VARIABLE} is '{policy}'; it must be 'restricted', 'deny' or unset "
        f"(reading checkpoint file '{name}')"
    )


def _restricted_loads(data: bytes) -> Any:
    import io

    return _RestrictedUnpickler(io.BytesIO(data)).load()


_PATHS = frozenset({"Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath"})

_ALLOWED_CLASSES = {
    "builtins": frozenset(
        {
            "bool",
            "bytearray",
            "bytes",
            "complex",
            "dict",
            "float",
            "frozenset",
            "int",
            "list",
            "range",
            "set",
            "slice",
            "str",
            "tuple",
        }
    ),
    "collections": frozenset({"Counter", "OrderedDict", "defaultdict", "deque"}),
    "datetime": frozenset({"date", "datetime", "time", "timedelta", "timezone"}),
    "decimal": frozenset({"Decimal"}),
    "fractions": frozenset({"Fraction"}),
    "uuid": frozenset({"SafeUUID", "UUID"}),
    "pathlib": _PATHS,
    "pathlib._local": _PATHS,  # where Python 3.13 has them
    "the_edge_agent.parallel": frozenset({"CircuitState", "ParallelFlowResult"}),
    # Needed by pickles of protocol 0 to 2 of the classes above.
    "_codecs": frozenset({"encode"}),
    "copyreg": frozenset({"_reconstructor"}),
}


def _enum_member(owner: Any, name: Any) -> Any:
    from enum import EnumMeta

    # The owner is a class that the list allows; anything but its members stays out of reach.
    if isinstance(owner, EnumMeta) and name in owner.__members__:
        return owner.__members__[name]
    raise pickle.UnpicklingError(f"getattr is not allowed by {PICKLE_POLICY_VARIABLE}=restricted")


_load_build: Callable[[Any], None] = pickle._Unpickler.dispatch[pickle.BUILD[0]]


class _RestrictedUnpickler(pickle._Unpickler):
    """Loads plain data only: each class and function a pickle names must be in the list above.

    The unpickler in C has no hook for the step that sets attributes, hence the slower one in Python.
    """

    if TYPE_CHECKING:
        stack: list[Any]

    def find_class(self, module: str, name: str) -> Any:
        # Old protocols use the names of Python 2.
        home = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
        if name == "object" and home == "builtins":
            return object  # base argument of `copyreg._reconstructor`
        if name == "getattr" and home == "builtins":
            return _enum_member  # how early releases of Python 3.11 pickle members of enumerations
        if name in _ALLOWED_CLASSES.get(home, frozenset()):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed by {PICKLE_POLICY_VARIABLE}=restricted")

    def load_build(self) -> None:
        # The state must be that of a new object: a class or function would be changed for the whole process.
        if callable(self.stack[-2]):
            what = f"setting attributes of {self.stack[-2]!r}"
            raise pickle.UnpicklingError(f"{what} is not allowed by {PICKLE_POLICY_VARIABLE}=restricted")
        _load_build(self)

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **pickle._Unpickler.dispatch,
        pickle.BUILD[0]: load_build,
    }


# ---------------------------------------------------------------------------------------------------
# Finding what cannot be pickled


class _Sink:
    """A file that forgets what is written to it."""

    def write(self, data: Any) -> int:
        return len(data)


def _picklable(value: Any) -> bool:
    try:
        pickle.Pickler(_Sink()).dump(value)
    except Exception:  # a value's own pickling code may raise anything
        return False
    return True


def explain_unpicklable(value: Any, root: str = "state") -> str | None:
    """Where and what the first value is that cannot be pickled: `state.docs[3].handle: _io.TextIOWrapper`.

    `None` if all of `value` can be pickled. `root` is the name of `value` in the text.
    """
    if _picklable(value):
        return None
    path = root
    seen: set[int] = set()
    while id(value) not in seen:
        seen.add(id(value))
        for step, child in _children(value):
            if not _picklable(child):
                path += step
                value = child
                break
        else:
            break
    kind = type(value)
    prefix = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{path}: {prefix}{kind.__qualname__}"


def _children(value: Any) -> list[tuple[str, Any]]:
    """The parts of a value with the path step that leads to each."""
    found: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        for k, v in value.items():
            found.append((f"[key {_short(k)}]", k))
            found.append((f".{k}" if isinstance(k, str) and k.isidentifier() else f"[{_short(k)}]", v))
    elif isinstance(value, (list, tuple)):
        found.extend((f"[{i}]", v) for i, v in enumerate(value))
    elif isinstance(value, (set, frozenset)):
        found.extend(("{...}", v) for v in value)
    if type(value) not in (dict, list, tuple, set, frozenset):
        found.extend(_parts_of_object(value))
    return found


def _parts_of_object(value: Any) -> list[tuple[str, Any]]:
    try:
        reduced = value.__reduce_ex__(pickle.DEFAULT_PROTOCOL)
    except Exception:  # a value's own pickling code may raise anything
        return []
    if not isinstance(reduced, tuple):
        return []  # a global name: nothing inside to blame
    found: list[tuple[str, Any]] = []
    attributes = reduced[2] if len(reduced) > 2 else None
    for part in attributes if isinstance(attributes, tuple) else (attributes,):
        if isinstance(part, dict):
            found.extend((f".{k}", v) for k, v in part.items())
        elif part is not None:
            found.append((".<state>", part))
    if isinstance(reduced[1], tuple):
        found.extend((f".<argument {i}>", v) for i, v in enumerate(reduced[1]) if v is not type(value))
    return found


def _short(key: Any) -> str:
    text = repr(key)
    return text if len(text) <= 60 else text[:57] + "..."
