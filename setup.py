"""Builds libtea (Rust) and the cffi module that links against it, side by side into one wheel.

setuptools-rust runs `build_ext` before `build_rust` and names the library like an extension module; the two
classes below build libtea first and keep its own name. They are cmdclass hooks that cffi and setuptools-rust wrap.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext as _build_ext
from setuptools.command.build_py import build_py as _build_py
from setuptools_rust import Binding, RustExtension
from setuptools_rust import build_rust as _build_rust

LIBTEA = {"darwin": "libtea.dylib", "win32": "tea.dll"}.get(sys.platform, "libtea.so")


class build_rust(_build_rust):
    """Installs libtea under its own name rather than an extension module's."""

    def build_extension(self, ext, *args, **kwargs):
        built, generated = super().build_extension(ext, *args, **kwargs)
        self.artifact_dirs = sorted({os.path.dirname(module.path) for module in built})
        return built, generated

    def get_dylib_ext_path(self, ext, target_fname):
        return str(Path(super().get_dylib_ext_path(ext, target_fname)).with_name(LIBTEA))


class build_ext(_build_ext):
    """Builds libtea first: the cffi module links against it."""

    def run(self):
        rust = self.get_finalized_command("build_rust")
        rust.inplace, rust.plat_name = self.inplace, self.plat_name
        rust.target = getattr(self, "target", None) or rust.target
        rust.run()
        self.library_dirs += rust.artifact_dirs
        super().run()

    def build_extensions(self):
        # Interpreters built with a run path of their own (pyenv, conda) would put it into the module.
        linker = getattr(self.compiler, "linker_so", None)
        if linker:
            self.compiler.linker_so = [word for word in linker if not word.startswith("-Wl,-rpath")]
        super().build_extensions()


class build_py(_build_py):
    """Puts the header beside the library, so that C, Go and Node hosts can build against an installed wheel."""

    def run(self):
        super().run()
        if not self.editable_mode:
            folder = Path(self.build_lib, "the_edge_agent", "_native", "include")
            self.mkpath(str(folder))
            shutil.copy("include/tea.h", folder)


# Paths of the build machine are kept out of the library.
remap = f"--remap-path-prefix={Path(__file__).resolve().parent}=libtea"
for variable, default in (("CARGO_HOME", "~/.cargo"), ("RUSTUP_HOME", "~/.rustup")):
    home = Path(os.environ.get(variable, default)).expanduser()
    remap += f" --remap-path-prefix={home}={variable.split('_')[0].lower()}"
os.environ["RUSTFLAGS"] = f"{os.environ.get('RUSTFLAGS', '')} {remap}".strip()

setup(
    rust_extensions=[
        RustExtension(
            "the_edge_agent._native.libtea",
            path="core/capi/Cargo.toml",
            binding=Binding.NoBinding,
            debug=False,
        )
    ],
    cffi_modules=["build_ffi.py:ffi"],
    cmdclass={"build_ext": build_ext, "build_rust": build_rust, "build_py": build_py},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
