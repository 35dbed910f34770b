"""Audits a built wheel, or one libtea.so: tag, contents, run path, dependencies, symbols, build paths, size.

    verify_wheel.py WHEEL [--symbols include/tea.symbols]
    verify_wheel.py --library libtea.so [--machine AArch64]

Prints a line per fact and `PROBLEM: ...` per fault; exit status 1 if there is any fault.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import zipfile
from pathlib import Path

import elf

ROOT = Path(__file__).resolve().parents[1]
NATIVE = "the_edge_agent/_native/"
REQUIRED = (
    "the_edge_agent/__init__.py",
    "the_edge_agent/py.typed",
    NATIVE + "_tea.abi3.so",
    NATIVE + "libtea.so",
    NATIVE + "include/tea.h",
)
SYSTEM = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "libpthread.so.0", "libdl.so.2", "librt.so.1"}
LOADER = re.compile(r"ld-linux.*\.so\.\d+|ld64?\.so\.\d+")
FOREIGN = re.compile(r"(^|/)(tests?|core|target|build|ci)/|\.(rs|c|o|a|pyc|pkl)$|Cargo\.")

problems: list[str] = []


def fault(text: str) -> None:
    problems.append(text)
    print(f"PROBLEM: {text}")


def build_paths() -> list[bytes]:
    """Texts that only a path of the machine that built the wheel would put into a file."""
    home = os.path.expanduser("~")
    paths = {str(ROOT) + "/", "/work/", "/root/", "/home/", ".cargo/registry", ".rustup/", "/.pyenv/"}
    if home != "/":
        paths.add(home + "/")
    return [path.encode() for path in sorted(paths)]


def check_build_paths(name: str, data: bytes, paths: list[bytes]) -> None:
    for path in paths:
        at = data.find(path)
        if at >= 0:
            around = re.split(rb"[^\x20-\x7e]", data[max(at - 20, 0) : at + 100])
            context = next(part for part in around if path in part).decode()
            fault(f"{name} holds a path of the build machine, {data.count(path)} times: {context!r}")


def check_library(name: str, data: bytes, symbols: Path, machine: str | None) -> None:
    """libtea.so: name, dependencies, no run path, exported symbols exactly those of the list."""
    library = elf.read(data)
    stripped = "no" if library.debug else "only names" if library.symbols else "stripped"
    print(f"{name}: {len(data):,} bytes, {library.machine}, debugging information: {stripped}")
    print(
        f"{name}: needs {', '.join(library.needed)}; glibc {'.'.join(map(str, library.glibc)) or 'not used'}"
    )
    if machine and library.machine != machine:
        fault(f"{name} is for {library.machine}, expected {machine}")
    if library.soname != "libtea.so":
        fault(
            f"{name} has the soname {library.soname}, expected libtea.so (else its path is baked into users)"
        )
    if library.runpath or library.rpath:
        fault(f"{name} has a run path, {library.runpath or library.rpath}; it needs none")
    if unknown := {n for n in library.needed if n not in SYSTEM and not LOADER.fullmatch(n)}:
        fault(f"{name} needs {', '.join(sorted(unknown))}, expected only the C library's own parts")
    listed = [line.strip() for line in symbols.read_text(encoding="utf-8").splitlines()]
    expected = {line for line in listed if line and not line.startswith("#")}
    exported = set(library.exported)
    print(f"{name}: {len(exported)} exported symbols")
    if extra := exported - expected:
        fault(f"{name} exports symbols that {symbols.name} lacks: {', '.join(sorted(extra))}")
    if absent := expected - exported:
        fault(f"{name} lacks symbols of {symbols.name}: {', '.join(sorted(absent))}")


def check_extension(name: str, data: bytes, symbols: Path) -> None:
    """_tea.abi3.so: finds libtea beside itself, links no libpython, uses only exported symbols of libtea."""
    library = elf.read(data)
    print(f"{name}: {len(data):,} bytes, run path {library.runpath}, needs {', '.join(library.needed)}")
    if library.runpath != "$ORIGIN":
        fault(f"{name} has the run path {library.runpath!r}, expected exactly '$ORIGIN'")
    if library.rpath:
        fault(f"{name} has the old kind of run path (RPATH) {library.rpath!r}")
    if "libtea.so" not in library.needed:
        fault(f"{name} does not need libtea.so by that name: {', '.join(library.needed)}")
    if unknown := {
        n for n in library.needed if n != "libtea.so" and n not in SYSTEM and not LOADER.fullmatch(n)
    }:
        fault(f"{name} needs {', '.join(sorted(unknown))}")
    expected = set(symbols.read_text(encoding="utf-8").split())
    if absent := {s for s in library.imported if s.startswith("tea_")} - expected:
        fault(f"{name} uses symbols that {symbols.name} lacks: {', '.join(sorted(absent))}")
    if private := {s for s in library.imported if s.startswith("_Py")} - {"_Py_Dealloc", "_Py_NoneStruct"}:
        print(f"{name}: private Python symbols: {', '.join(sorted(private))}")


def check_glibc(tag: str, libraries: dict[str, bytes]) -> None:
    """A manylinux tag promises a glibc; a plain linux tag promises nothing."""
    newest = max((elf.read(data).glibc for data in libraries.values()), default=())
    print(f"glibc needed: {'.'.join(map(str, newest)) or 'none'}")
    promised = re.search(r"manylinux_(\d+)_(\d+)_", tag)
    if promised and newest > (int(promised[1]), int(promised[2])):
        fault(
            f"the tag promises glibc {promised[1]}.{promised[2]}, the files need {'.'.join(map(str, newest))}"
        )


def check_wheel(path: Path, symbols: Path) -> None:
    match = re.fullmatch(r"([^-]+)-([^-]+)-([^-]+)-([^-]+)-([^-]+)\.whl", path.name)
    if not match:
        fault(f"{path.name} is no wheel's name")
        return
    distribution, version, python, abi, platform = match.groups()
    tag = f"{python}-{abi}-{platform}"
    print(f"{path.name}: {path.stat().st_size:,} bytes, {distribution} {version}, tag {tag}")
    if (python, abi) != ("cp310", "abi3") or not re.match(r"(linux|manylinux|musllinux)", platform):
        fault(f"tag {tag}, expected cp310-abi3-linux_... or cp310-abi3-manylinux_...")
    with zipfile.ZipFile(path) as archive:
        files = {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
    info = f"{distribution}-{version}.dist-info/"
    for name in (*REQUIRED, info + "METADATA", info + "WHEEL", info + "RECORD"):
        if name not in files:
            fault(f"{name} is not in the wheel")
    if not any(name.startswith(info) and "LICENSE" in name for name in files):
        fault("the licence is not in the wheel")
    for name in sorted(files):
        top = name.split("/")[0]
        if top not in ("the_edge_agent", info.rstrip("/")) or FOREIGN.search(
            name.removeprefix("the_edge_agent/")
        ):
            fault(f"{name} does not belong into the wheel")
    header = files.get(info + "WHEEL", b"").decode()
    if f"Tag: {tag}" not in header or "Root-Is-Purelib: false" not in header:
        fault(f"the WHEEL file does not say `Tag: {tag}` and `Root-Is-Purelib: false`")
    metadata = files.get(info + "METADATA", b"").decode()
    required = [
        line for line in re.findall(r"^Requires-Dist: (.*)$", metadata, re.M) if "extra ==" not in line
    ]
    print(f"run-time dependencies: {', '.join(required) or 'none'}")
    if [re.split(r"[ ;<>=!~(]", line)[0].lower() for line in required] != ["cffi"]:
        fault("the run-time dependencies must be cffi alone")
    paths = build_paths()
    for name, data in files.items():
        binary = name.endswith(".so") or b"\0" in data
        check_build_paths(
            name, data, paths if binary else [p for p in paths if p.startswith(str(ROOT).encode())]
        )
    if (
        NATIVE + "include/tea.h" in files
        and files[NATIVE + "include/tea.h"] != (ROOT / "include/tea.h").read_bytes()
    ):
        fault("tea.h in the wheel differs from include/tea.h")
    if NATIVE + "libtea.so" in files:
        check_library(NATIVE + "libtea.so", files[NATIVE + "libtea.so"], symbols, None)
    if NATIVE + "_tea.abi3.so" in files:
        check_extension(NATIVE + "_tea.abi3.so", files[NATIVE + "_tea.abi3.so"], symbols)
    check_glibc(tag, {name: data for name, data in files.items() if name.endswith(".so")})
    print(f"{len(files)} files, {sum(map(len, files.values())):,} bytes installed")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wheel", nargs="?", type=Path)
    parser.add_argument("--library", type=Path, help="audit one libtea.so instead")
    parser.add_argument("--machine", help="with --library: the expected machine")
    parser.add_argument("--symbols", type=Path, default=ROOT / "include/tea.symbols")
    args = parser.parse_args(argv)
    if bool(args.wheel) == bool(args.library):
        parser.error("give a wheel or --library FILE")
    if args.library:
        data = args.library.read_bytes()
        check_build_paths(args.library.name, data, build_paths())
        check_library(args.library.name, data, args.symbols, args.machine)
    else:
        check_wheel(args.wheel, args.symbols)
    print(f"{len(problems)} problems" if problems else "no problem found")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
