"""Print the lowest version of each library that pyproject.toml allows, for ``pip --constraint``."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def constraints() -> Iterator[str]:
    """Yield a line for each dependency that is not for development alone."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    for wanted in project["dependencies"]:
        if ">=" not in wanted:
            raise SystemExit(f"pyproject.toml: {wanted} has no lowest version: write {wanted}>=N")
        yield wanted.replace(">=", "==")


if __name__ == "__main__":
    for line in constraints():
        print(line)
