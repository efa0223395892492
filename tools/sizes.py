"""No function over 60 lines, no file over 600; called by `make lint`, since ruff counts statements and not lines.

What others wrote (`vendor/`) is left as they wrote it.
Rust and JavaScript are read as formatters leave them: a function ends at the first closing brace of its own depth.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator

FUNCTION_LINES, FILE_LINES = 60, 600
EXEMPT = re.compile(r"_pb2(_grpc)?\.pyi?$|/vendor/")
HEADER = {
    "rs": re.compile(r"([ ]*)(?:[a-z()]+ )*fn \w"),
    "js": re.compile(r"([ ]*)(?!if|for|while|switch|catch|describe)(?:[\w.#=]+ )*(?:[\w.#]+ ?)?\(.*\{$"),
}


def functions(language: str, text: str) -> Iterator[tuple[int, int]]:
    """First line and length of each function."""
    if language == "py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1
        return
    lines = text.splitlines()
    for start, line in enumerate(lines):
        if header := HEADER[language].match(line):
            closing = header[1] + "}"
            end = next((n for n, other in enumerate(lines[start:]) if other.startswith(closing)), 0)
            yield start + 1, end + 1


def main() -> int:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py", "*.rs", "*.js"],
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    faults = []
    for name in (name for name in listed if not EXEMPT.search(name)):
        with open(name, encoding="utf-8") as file:
            text = file.read()
        if (length := text.count("\n")) > FILE_LINES:
            faults.append(f"{name}: {length} lines, at most {FILE_LINES}")
        for line, length in functions(name.rpartition(".")[2], text):
            if length > FUNCTION_LINES:
                faults.append(f"{name}:{line}: a function of {length} lines, at most {FUNCTION_LINES}")
    sys.stderr.write("".join(fault + "\n" for fault in faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
