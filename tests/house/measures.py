"""Prints the measures of the house: how long files and functions are, and how much test there is to the source.

They are a reason to ask which room is missing, never a target. `python -m tests.house.measures` prints them alone; a
test run prints them at its end.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tests.house import reading
from tests.house.rules import Source


@dataclass(frozen=True)
class Measures:
    """What was measured; lengths in lines."""

    files: int
    median_file: int
    largest_file: int
    largest_room: str
    functions: int
    median_function: int
    function_p99: int
    longest_function: int
    longest_name: str
    source_lines: int
    test_lines: int

    @property
    def tests_to_source(self) -> float:
        """Lines of tests for each line of source."""
        return self.test_lines / self.source_lines if self.source_lines else 0.0


def lines(source: Source) -> int:
    """Return the lines of a source that hold anything."""
    return sum(1 for line in source.text.splitlines() if line.strip())


def functions(source: Source) -> list[tuple[int, str]]:
    """Return length and name of every function, from `def` to its last line, its docstring left out."""
    found = []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            prose = node.body[0] if ast.get_docstring(node, clean=False) is not None else None
            left_out = (prose.end_lineno or prose.lineno) - prose.lineno + 1 if prose else 0
            found.append(((node.end_lineno or node.lineno) - node.lineno + 1 - left_out, f"{source.room}.{node.name}"))
    return found


def percentile(values: Sequence[int], share: float) -> int:
    """Return the smallest value that at least this share of the values does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0


def measure(package: Sequence[Source], tests: Sequence[Source]) -> Measures:
    """Measure a package and its tests."""
    sizes = [(lines(source), source.room or "__init__") for source in package if lines(source)]
    lengths = [each for source in package for each in functions(source)]
    largest, longest = max(sizes, default=(0, "none")), max(lengths, default=(0, "none"))
    return Measures(
        files=len(sizes),
        median_file=int(median([size for size, _ in sizes] or [0])),
        largest_file=largest[0],
        largest_room=largest[1],
        functions=len(lengths),
        median_function=int(median([length for length, _ in lengths] or [0])),
        function_p99=percentile([length for length, _ in lengths], 0.99),
        longest_function=longest[0],
        longest_name=longest[1],
        source_lines=sum(size for size, _ in sizes),
        test_lines=sum(lines(source) for source in tests),
    )


def measured() -> Measures:
    """Measure this house."""
    tests = [source for source in reading.test_sources() if source.floor == "tests"]
    return measure(reading.package_sources(), tests)


def told(found: Measures) -> list[str]:
    """Return the measures as lines, each beside what the admired codebases have."""
    times = found.largest_file / found.median_file if found.median_file else 0.0
    files = f"{found.files}, median {found.median_file} lines (admired: 110-250), largest {found.largest_file}"
    median_of = f"{found.functions}, median {found.median_function} lines (5-9), 99 % within {found.function_p99} (80)"
    tests = f"{found.test_lines} lines to {found.source_lines} of source = {found.tests_to_source:.2f}"
    return [
        f"files      {files} = {times:.1f} x (4-6 x): {found.largest_room}",
        f"functions  {median_of}, longest {found.longest_function}: {found.longest_name}",
        f"tests      {tests} (about 1, some 2)",
    ]


if __name__ == "__main__":
    print("\n".join(told(measured())))
