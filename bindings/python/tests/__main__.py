# SPDX-License-Identifier: BSD-3-Clause
"""__main__.py: all tests of the binding, on the library that ATTN_LIBRARY names; 77 without NumPy. An argument is a
pattern for the names of files:

    ATTN_LIBRARY=build/release/src/libattn.so python3 bindings/python/tests 'test_torch*.py'
"""

import importlib.util
import sys
import unittest
from pathlib import Path

if importlib.util.find_spec("numpy") is None:
    print("NumPy is missing")
    sys.exit(77)

pattern = sys.argv[1] if len(sys.argv) > 1 else "test_*.py"
tests = unittest.defaultTestLoader.discover(str(Path(__file__).resolve().parent), pattern)
sys.exit(not unittest.TextTestRunner().run(tests).wasSuccessful())
