"""The extension module made from include/tea.h; see build_ffi.py."""

from typing import Any

ffi: Any
lib: Any
