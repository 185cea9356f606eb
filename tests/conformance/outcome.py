# SPDX-License-Identifier: BSD-3-Clause
"""outcome.py: what came of the cases of a suite."""

import traceback
from dataclasses import dataclass, field


@dataclass
class Suite:
    """name and source for the document; compares: how a result is judged; cases that failed, with the reason; notes for
    the document about how the suite's idea of attention is brought to the library's."""

    name: str
    source: str
    compares: str
    notes: list = field(default_factory=list)
    passed: list = field(default_factory=list)
    failed: dict = field(default_factory=dict)
    peers: int = 0  # how many the suite's own implementation passes, where it is asked
    exact: bool = True  # False: roundings of the type can fail a case, and do so to the suite's own implementation too

    def run(self, name, function, *arguments):
        try:
            function(*arguments)
        except Exception as why:  # of any kind: a case that stops the program has failed, and the others go on
            lines = [line.strip() for line in str(why).splitlines() if line.strip()]
            where = traceback.extract_tb(why.__traceback__)[-1]
            self.failed[name] = f"{type(why).__name__}: {' '.join(lines)[:300]} ({where.name}, line {where.lineno})"
        else:
            self.passed.append(name)

    def line(self):
        return f"{self.name}: {len(self.passed)} of {len(self.passed) + len(self.failed)}"
