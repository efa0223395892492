"""Holds the licences of everything installed to an allow-list, and NOTICE to what wheels bundle; part of `make lint`.

Python packages are read from the environment that runs this, crates from Cargo.lock. A wheel may carry libraries under
other terms than its own metadata names: those of BUNDLED must be spoken of in NOTICE.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

ENGINE = Path("relay/engine")
ALLOWED = {
    "0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "ISC", "MIT", "MIT-0", "MIT-CMU",
    "MPL-2.0", "PSF-2.0", "Unicode-3.0", "Unlicense", "Zlib",
}  # fmt: skip
# How packages without an SPDX expression write the same thing.
SPELT = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "BSD 2-Clause License": "BSD-2-Clause",
    "ISC License": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
BUNDLED = {"libx264": "x264", "libx265": "x265"}


def acceptable(expression: str) -> bool:
    """Whether an SPDX expression can be met from ALLOWED: every part of AND, one part of OR ("/" in old crates)."""
    if expression in SPELT:
        return True
    flat = re.sub(r"\s*/\s*", " OR ", expression)
    while inner := re.search(r"\(([^()]*)\)", flat):
        flat = flat.replace(inner[0], "MIT" if acceptable(inner[1]) else "Refused")
    return all(
        any(re.sub(r" WITH .*", "", name.strip()) in ALLOWED for name in part.split(" OR "))
        for part in flat.split(" AND ")
    )


def python_licence(distribution: Distribution) -> str:
    metadata = distribution.metadata
    classified = [line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier", []) if "License ::" in line]
    return metadata["License-Expression"] or (metadata["License"] or "").strip() or " OR ".join(classified)


def crates() -> Iterator[tuple[str, str]]:
    command = ["cargo", "metadata", "--format-version=1", "--locked", "--all-features"]
    found = subprocess.run(command, cwd=ENGINE, check=True, capture_output=True, text=True).stdout
    for package in json.loads(found)["packages"]:
        yield package["name"], package["license"] or ""


def main() -> int:
    installed = list(distributions())
    licences = [*((found.metadata["Name"], python_licence(found)) for found in installed), *crates()]
    faults = [f"{name}: licence {text!r} is not allowed" for name, text in licences if not acceptable(text)]
    notice = Path("NOTICE").read_text(encoding="utf-8")
    for distribution in installed:
        names = {file.name.partition("-")[0] for file in distribution.files or []}
        faults += [
            f"{distribution.metadata['Name']} bundles {project}: NOTICE says nothing of it"
            for library, project in BUNDLED.items()
            if library in names and project not in notice
        ]
    sys.stderr.write("".join(fault + "\n" for fault in faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
