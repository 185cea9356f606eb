# SPDX-License-Identifier: BSD-3-Clause
"""Makes sentence pairs of a message and its translation, or says which rule forbids it.

A message is made plain text: markup goes, a placeholder (%s, {name}, $name) becomes %s, the mark of an accelerator (_File,
&File, ~File) goes. Where both sides have as many paragraphs, and within them as many sentences, these are pairs; otherwise
the paragraph, or the message, remains one. Then each pair must pass RULES, in their order."""
import html
import re
import unicodedata

from .tokens import PLACEHOLDER, plain, tokenise

MOST_TOKENS = 80
# What a pair is dropped by, and why.
RULES = {
    "the same": "the translation is the source: a name, a command, or nobody translated it",
    "no words": "a side has no word, or less letters than other signs",
    "code": "a side has signs of programs, an address, or a path",
    "too long": f"a side has more than {MOST_TOKENS} tokens",
    "lengths": "one side is more than twice the other and three tokens",
    "placeholders": "the sides do not have as many placeholders",
    "numbers": "the sides do not have the same numbers of two digits and more",
    "script": "a side has letters that are not Latin",
    "language": "a side has more of the other language's little words than of its own",
}

TAGS = ("a abbr b big br bold code em emphasis filename font format h1 h2 h3 header i img interface italic jump kbd li link "
        "nobr note numid ol p para placeholder q qt ref s shortcut small span strong sub sup table td th title tr tt u ul "
        "warning").split()
TAG = re.compile(rf"</?(?:{'|'.join(TAGS)})(?:\s[^<>]*)?/?>", re.IGNORECASE)
WESNOTH_TAG = re.compile(r"<(ref|bold|italic|header|format|jump|img)>(.*?)</\1>", re.DOTALL)
WESNOTH_TEXT = re.compile(r"text='((?:[^'\\]|\\.)*)'")
PLACEHOLDERS = re.compile(r"""
    % (?: \d+\$ )? [-+#0']* (?: \d+ | \* )? (?: \.(?: \d+ | \* )? )? (?: hh|h|ll|l|z|j|t|q|w )*
      [+#]* [diouxXeEfFgGcspDEFTJKSAH] (?! [^\W\d_] )        # printf's, gettext's %1$s, GCC's %qD
    | %\(\w+\)[sdif] | %L?\d+ | %\w+% | %%
    | \$\{\w+\} | \$[A-Za-z_][\w.]* \|? | \{[\w.:]*\}        # shells', Wesnoth's $unit.name|, Python's""", re.VERBOSE)
GCC_QUOTES = re.compile(r"%[<>']")
CODE = re.compile(r"[{}\[\]\\<>=|@^#_~*$\x00-\x1f]|&\w|://|www\.|\w/\w|(?:^|\s)/\w"
                  r"|\w\.\w+\(|\(\)|\w::\w|\b\w+\.[a-z]{1,4}\b(?!\.)")
NO_CODE = re.compile(r"\b(?:[ei]\.[eg]|p\.ex|[A-Za-z]\.[a-z])\b", re.IGNORECASE)
BREAK = re.compile(r"\n\s*\n|\n(?=[ \t]*[-*•])")
SENTENCE = re.compile(r"""((?:[.!?]|\.\.\.)["')»]*)\s+(?=["'(«—]*\s?[A-ZÀÂÇÉÈÊÎÔ])""")
NO_END = re.compile(r"\b(?:mr|mrs|dr|st|e\.g|i\.e|etc|vs|no|cf|p\. ?ex|c\.-à-d|[A-Z])\.$", re.IGNORECASE)
LITTLE = {
    "en": set("the of and to is are that this for with not be it you your we have has by from was which they".split()),
    "fr": set("le la les l' de des d' du un une et est sont pas ne pour que qu' avec il vous votre nous par ce cette dans".split()),
}


def strip_marks(text):
    """Text without accelerators: one mark in a short message, before a letter or (E_xit) within a word of it."""
    text = text.replace("&&", "&")
    for mark in "_&~":
        if text.count(mark) == 1 and len(text.split()) <= 8 and not re.search(rf"{mark}\w+;", text):
            text = re.sub(rf"{mark}(?=\w)", "", text)
    return re.sub(r"\s*\(&?_?[A-Z]\)$", "", text)


def strip_markup(text):
    def said(match):
        inner = WESNOTH_TEXT.search(match.group(2))
        return inner.group(1).replace("\\'", "'") if inner else match.group(2) if "='" not in match.group(2) else ""

    return html.unescape(TAG.sub("", WESNOTH_TAG.sub(said, text)))


def strip_placeholders(text):
    return PLACEHOLDERS.sub(lambda match: "%" if match.group() == "%%" else PLACEHOLDER, GCC_QUOTES.sub('"', text))


def paragraphs(text):
    """A blank line begins a paragraph, as does an option or a bullet; elsewhere lines end where they were full."""
    return [part for part in (plain(part) for part in BREAK.split(text)) if part]


def sentences(text):
    parts, start = [], 0
    for match in SENTENCE.finditer(text):
        if not NO_END.search(text[start:match.end(1)]):
            parts.append(text[start:match.end(1)])
            start = match.end()
    return parts + [text[start:]]


def halves(source, target, whole):
    """Pairs of plain texts that this message and its translation are made of; whole: paragraphs."""
    sides = [paragraphs(strip_placeholders(strip_marks(strip_markup(side)))) for side in (source, target)]
    if len(sides[0]) != len(sides[1]):
        sides = [[" ".join(side)] for side in sides]
    for one, other in zip(*sides):
        parts = sentences(one), sentences(other)
        matched = not whole and len(parts[0]) == len(parts[1]) and all(
            fits(len(a.split()), len(b.split())) for a, b in zip(*parts))
        yield from zip(*parts) if matched else [(one, other)]


def fits(one, other):
    return max(one, other) <= 2 * min(one, other) + 3


def numbers(tokens):
    return sorted(digits for token in tokens if len(digits := re.sub(r"\D", "", token)) > 1)


def letters(text):
    return [character for character in text if character.isalpha()]


def is_code(text):
    return CODE.search(NO_CODE.sub("", text.replace(PLACEHOLDER, ""))) is not None or "%" in re.sub(r"%s|\d ?%", "", text)


def little(tokens, language):
    return sum(token.lower() in LITTLE[language] for token in tokens)


def rule_against(one, other, source, target):
    """The first rule that forbids the pair; None where there is none. one and other are plain, source and target tokens."""
    sides = (one, source, "en", "fr"), (other, target, "fr", "en")
    bare = [text.replace(PLACEHOLDER, "") for text in (one, other)]
    if one.casefold() == other.casefold():
        return "the same"
    if any(not re.search(r"[^\W\d_]{2}", text) or 2 * len(letters(text)) < len(text.replace(" ", "")) for text in bare):
        return "no words"
    if is_code(one) or is_code(other):
        return "code"
    if max(len(source), len(target)) > MOST_TOKENS:
        return "too long"
    if not fits(len(source), len(target)):
        return "lengths"
    if source.count(PLACEHOLDER) != target.count(PLACEHOLDER):
        return "placeholders"
    if numbers(source) != numbers(target):
        return "numbers"
    if any(not unicodedata.name(letter, "").startswith("LATIN") for text in bare for letter in letters(text)):
        return "script"
    if any(little(tokens, theirs) > little(tokens, ours) for _, tokens, ours, theirs in sides):
        return "language"
    return None


def clean(source, target, whole=False):
    """For each pair of sentences of the message, or of whole paragraphs: (source tokens, target tokens, the rule against it or None)."""
    for one, other in halves(source, target, whole):
        pair = tokenise(one, "en"), tokenise(other, "fr")
        yield *pair, rule_against(one, other, *pair)
