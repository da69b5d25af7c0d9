"""Source lines (DWARF) out of an ELF image: the address of ``file.c:12``."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from elftools.common.exceptions import DWARFError, ELFError
from elftools.construct import ConstructError

from klosdbg.errors import CommandError, DataError
from klosdbg.wire.harmless import harmless

_Row = tuple[int, int]


class SourceLines:
    """The lines of one image; ``base`` is added to every address in the file."""

    def __init__(self, elf: Any, base: int) -> None:
        self._base = base
        self._rows: dict[PurePosixPath, list[_Row]] = defaultdict(list)
        try:
            for path, row in _rows(elf):
                self._rows[path].append(row)
        except (AssertionError, LookupError, DWARFError, ELFError, ConstructError) as error:
            raise DataError(f"the image's source lines are damaged: {error}") from None

    def address(self, file: str, line: int) -> int | None:
        """Look up a line: the first address of it, or of the next line that has code.

        ``file`` is the end of a path; ``CommandError`` where several end so.
        """
        wanted = PurePosixPath(file).parts
        found = {
            path: min(after)
            for path, rows in self._rows.items()
            if path.parts[-len(wanted) :] == wanted and (after := [r for r in rows if r[0] >= line])
        }
        if len(found) > 1:
            places = " or ".join(sorted("/".join(path.parts[-len(wanted) - 1 :]) for path in found))
            raise CommandError(f"{file} is {places}: write which")
        return next((address + self._base for _, address in found.values()), None)


def _rows(elf: Any) -> Iterator[tuple[PurePosixPath, _Row]]:
    """Yield the path, the line and the address of each statement."""
    if not elf.has_dwarf_info():
        return
    dwarf = elf.get_dwarf_info()
    for unit in dwarf.iter_CUs():
        program = dwarf.line_program_for_CU(unit)
        if program is None:
            continue
        paths = _paths(unit, program.header)
        for entry in program.get_entries():
            state = entry.state
            if state is not None and state.is_stmt and not state.end_sequence:
                yield paths[state.file], (state.line, state.address)


def _paths(unit: Any, header: Any) -> dict[int, PurePosixPath]:
    """Map the numbers of a line program's files to their paths."""
    top = unit.get_top_DIE()
    where = top.attributes.get("DW_AT_comp_dir")
    compiled_in = PurePosixPath(_text(where.value) if where else "")
    directories = [compiled_in / _text(name) for name in header.include_directory]
    first = 0
    if header.version < 5:
        first, directories = 1, [compiled_in, *directories]
    return {
        number: directories[file.dir_index] / _text(file.name)
        for number, file in enumerate(header.file_entry, first)
    }


def _text(raw: bytes) -> str:
    return harmless(raw.decode("utf-8", "replace"))
