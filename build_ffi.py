"""Describes the extension module `the_edge_agent._native._tea`: the C header plus the Python callbacks.

setuptools calls this through `cffi_modules`. The declarations are taken from include/tea.h, so the header is the
one place that says what the ABI is.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import cffi

ROOT = Path(__file__).resolve().parent

# Functions of Python that the library calls, one for each member of `tea_host` that the package provides.
CALLBACKS = """
extern "Python" int32_t tea_py_resolve(void *, uint64_t, const tea_path *, size_t, tea_value *);
extern "Python" int32_t tea_py_get(void *, uint64_t, const tea_value *, uint32_t, tea_value *);
extern "Python" int32_t tea_py_keys(void *, uint64_t, tea_value *);
extern "Python" int32_t tea_py_query(void *, uint64_t, uint32_t, const tea_value *, tea_value *);
extern "Python" int32_t tea_py_call(void *, uint64_t, tea_str, tea_str, tea_value *);
extern "Python" int32_t tea_py_export_json(void *, uint64_t, tea_value *);
extern "Python" int32_t tea_py_import_json(void *, tea_str, uint64_t *);
extern "Python" int32_t tea_py_copy(void *, uint64_t, uint32_t, uint64_t *);
extern "Python" int32_t tea_py_apply(void *, uint64_t, tea_str);
extern "Python" int32_t tea_py_stops(void *, uint64_t, uint32_t, uint32_t, uint32_t *);
extern "Python" void tea_py_log(void *, int32_t, tea_str, tea_str);
extern "Python" void tea_py_release(void *, const uint64_t *, size_t);
"""


def declarations(header: str) -> str:
    """The header as cffi reads it: without its C++ parts and without preprocessor lines but plain numbers."""
    header = re.sub(r"#ifdef __cplusplus.*?#endif[^\n]*", "", header, flags=re.DOTALL)
    lines = []
    for line in header.splitlines():
        if not line.startswith("#") or re.fullmatch(r"#define \w+ \d+", line):
            lines.append(line)
    return "\n".join(lines)


ffi = cffi.FFI()
ffi.cdef(declarations((ROOT / "include" / "tea.h").read_text(encoding="utf-8")))
ffi.cdef(CALLBACKS)
if sys.platform == "darwin":
    link_args = ["-Wl,-rpath,@loader_path", "-Wl,-headerpad_max_install_names"]
elif sys.platform == "win32":
    link_args = []
else:
    # Debug information would carry paths of the machine that built it.
    link_args = ["-Wl,-rpath,$ORIGIN", "-Wl,--strip-debug"]
ffi.set_source(
    "the_edge_agent._native._tea",
    '#include "tea.h"',
    include_dirs=["include"],
    libraries=["tea.dll" if sys.platform == "win32" else "tea"],
    extra_link_args=link_args,
)

if __name__ == "__main__":
    ffi.compile(verbose=True)
