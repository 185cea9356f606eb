# SPDX-License-Identifier: BSD-3-Clause
"""Makes text for the translator of what a Debian machine has: message catalogues, and a dictionary of pronunciations.
scripts/corpus gathers the files and calls this. Python's own library is all it needs."""
