#!/usr/bin/env python3
"""Names dependencies that no source file of their package mentions."""

import json
import pathlib
import re
import subprocess
import sys


def sources(folder):
    """All Rust text of a package; a member's folder below it is a package of its own."""
    parts = []
    for top in ("src", "tests", "benches", "examples"):
        for path in (folder / top).rglob("*.rs"):
            if "fuzz" not in path.parts:
                parts.append(path.read_text(encoding="utf-8"))
    return "\n".join(parts)


def unused(package):
    """Dependencies whose name, as a crate is named in code, stands nowhere in the sources."""
    folder = pathlib.Path(package["manifest_path"]).parent
    text = sources(folder)
    for dependency in package["dependencies"]:
        name = (dependency["rename"] or dependency["name"]).replace("-", "_")
        if not re.search(rf"\b{name}\b", text):
            yield f"{package['name']}: {dependency['name']}"


def main():
    metadata = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1"],
        check=True, capture_output=True,
    ).stdout
    found = [line for package in json.loads(metadata)["packages"] for line in unused(package)]
    for line in found:
        print(f"unused dependency of {line}", file=sys.stderr)
    sys.exit(1 if found else 0)


main()
