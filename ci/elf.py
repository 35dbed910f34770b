"""Reads what the checks need from ELF shared libraries."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection
from elftools.elf.sections import SymbolTableSection


@dataclass(frozen=True)
class Library:
    """Facts about one shared library."""

    machine: str  # e.g. "x64", "AArch64"
    soname: str | None
    needed: tuple[str, ...]
    runpath: str | None
    rpath: str | None
    exported: tuple[str, ...]  # defined dynamic symbols that other objects can bind to, sorted
    imported: tuple[str, ...]  # undefined dynamic symbols, sorted
    glibc: tuple[int, ...]  # the newest GLIBC_x.y asked for; () if none
    debug: bool  # has sections of debugging information
    symbols: bool  # has a full symbol table besides the dynamic one


def read(data: bytes) -> Library:
    """Facts about a library given as bytes; raises `ELFError` if it is none."""
    elf = ELFFile(io.BytesIO(data))
    soname = runpath = rpath = None
    needed, exported, imported = [], [], []
    versions: list[tuple[int, ...]] = []
    for section in elf.iter_sections():
        if isinstance(section, DynamicSection):
            for tag in section.iter_tags():
                kind = tag.entry.d_tag
                if kind == "DT_NEEDED":
                    needed.append(tag.needed)
                elif kind == "DT_SONAME":
                    soname = tag.soname
                elif kind == "DT_RUNPATH":
                    runpath = tag.runpath
                elif kind == "DT_RPATH":
                    rpath = tag.rpath
        elif isinstance(section, GNUVerNeedSection):
            for _, auxiliaries in section.iter_versions():
                for auxiliary in auxiliaries:
                    if match := re.fullmatch(r"GLIBC_([\d.]+)", auxiliary.name):
                        versions.append(tuple(map(int, match[1].split("."))))
        elif isinstance(section, SymbolTableSection) and section.name == ".dynsym":
            for symbol in section.iter_symbols():
                if not symbol.name or symbol["st_info"]["bind"] == "STB_LOCAL":
                    continue
                if symbol["st_shndx"] == "SHN_UNDEF":
                    imported.append(symbol.name)
                elif symbol["st_other"]["visibility"] in ("STV_DEFAULT", "STV_PROTECTED"):
                    exported.append(symbol.name)
    names = {section.name for section in elf.iter_sections()}
    return Library(
        machine=elf.get_machine_arch(),
        soname=soname,
        needed=tuple(needed),
        runpath=runpath,
        rpath=rpath,
        exported=tuple(sorted(exported)),
        imported=tuple(sorted(imported)),
        glibc=max(versions, default=()),
        debug=any(name.startswith(".debug_") for name in names),
        symbols=".symtab" in names,
    )
