# SPDX-License-Identifier: BSD-3-Clause
"""test_modules.py: the binding's modules stand one above the other: what a module imports, anywhere in it and for
whatever reason, does not import it in turn. Needs nothing, not the library either."""

import ast
import unittest
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "attn"


def imported(source, inside):
    """The package's modules that a module of this source imports; inside: the package that the module is in."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = inside.split(".")[:len(inside.split(".")) + 1 - node.level] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def graph(sources):
    """Whom each module imports, of a dict of sources by the modules' names. A package that a module is in, "a.__init__"
    of "a.b", is not meant by what imports another module of it."""
    plain = {name.removesuffix(".__init__"): name for name in sources}

    def around(name):
        parts = name.split(".")[:-1]
        return {".".join([*parts[:i + 1], "__init__"]) for i in range(len(parts))}

    return {name: {plain[other] for other in imported(source, name.rpartition(".")[0]) if other in plain}
            - {name} - around(name)
            for name, source in sources.items()}


class Modules(unittest.TestCase):
    def sources(self):
        return {".".join(("attn", *path.relative_to(PACKAGE).with_suffix("").parts)): path.read_text(encoding="utf-8")
                for path in PACKAGE.rglob("*.py")}

    def test_no_circles(self):
        found = graph(self.sources())
        self.assertIn("attn._tensors", found["attn._run"])
        self.assertIn("attn._attention", found["attn.torch._function"])
        try:
            TopologicalSorter(found).prepare()
        except CycleError as circle:
            self.fail(f"modules that import each other: {' <- '.join(circle.args[1])}")

    def test_a_circle_is_seen_however_it_is_hidden(self):
        for hidden in ("if TYPE_CHECKING:\n    from ._run import Result", "def f():\n    from . import _run",
                       "from attn._run import Result", "import attn._run"):
            with self.subTest(hidden), self.assertRaises(CycleError):
                sources = self.sources()
                sources["attn._tensors"] += "\n" + hidden + "\n"
                TopologicalSorter(graph(sources)).prepare()


if __name__ == "__main__":
    unittest.main()
