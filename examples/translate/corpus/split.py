# SPDX-License-Identifier: BSD-3-Clause
"""Puts pairs into train, dev and test so that nothing tested was learnt: no source and no target of one part is in another,
be it with other capitals, digits or punctuation. A source's part depends on its text alone, not on its neighbours or their
order: what comes or goes elsewhere leaves it where it is."""
import collections
import hashlib
import re

PARTS = ("test", "dev", "train")  # in the order in which they may keep a target
RULES = {
    "known": "the source is there already; of its translations the one remains that is found most often",
    "other part": "the target is in a part that is held out",
}


def key(tokens):
    """What two sides are the same by: letters without case, each number one sign; all of it where there are none."""
    text = " ".join(tokens).casefold()
    return " ".join(re.sub(r"[\W_]+", " ", re.sub(r"\d+", "0", text)).split()) or text


def place(text):
    """0 to 1, evenly, from the text's hash."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2 ** 64


def split(pairs, held_out, key=key):
    """pairs: of tuples of tokens. Returns {part: pairs, in an order that is fixed too} and {rule: pairs dropped by it};
    dev and test get the share held_out each."""
    found = collections.defaultdict(collections.Counter)
    for source, target in pairs:
        found[key(source)][tuple(source), tuple(target)] += 1
    dropped = dict.fromkeys(RULES, 0)
    parts = {part: [] for part in PARTS}
    for text, alternatives in sorted(found.items(), key=lambda item: (place(item[0]), item[0])):
        by_target = collections.Counter()
        for (_, target), count in alternatives.items():
            by_target[key(target)] += count
        best = min(by_target, key=lambda target: (-by_target[target], target))
        pair = min((pair for pair in alternatives if key(pair[1]) == best), key=lambda pair: (-alternatives[pair], pair))
        dropped["known"] += sum(alternatives.values()) - 1
        at = place(text)
        parts["test" if at < held_out else "dev" if at < 2 * held_out else "train"].append(pair)
    held = set()
    for part in PARTS:
        kept = [pair for pair in parts[part] if key(pair[1]) not in held]
        dropped["other part"] += len(parts[part]) - len(kept)
        held |= {key(target) for _, target in kept}
        parts[part] = kept
    return parts, dropped
