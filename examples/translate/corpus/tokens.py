# SPDX-License-Identifier: BSD-3-Clause
"""Cuts English and French into tokens.

A token is a word with its hyphens (dix-sept, donne-t-il), a number with its points (1,234.5) and unit, an option (--all), a
run of one punctuation mark (...), and %s, which placeholders have become. The apostrophe goes with what was shortened:

    I don't know the king's name.     I do n't know the king 's name .
    L'accord qu'aujourd'hui on a      L' accord qu' aujourd'hui on a

A word with another apostrophe is one (quelqu'un, o'clock). Capitals stay."""
import re
import unicodedata

PLACEHOLDER = "%s"
ALIKE = str.maketrans({"’": "'", "‘": "'", "`": "'", "´": "'", "“": '"', "”": '"', "„": '"', "…": "...", "–": "—",
                       "\u2011": "-", "\u2010": "-", "\u00ad": "", "\u200b": "", "\ufeff": "", "\u2212": "-"})
WORD = r"[^\W\d_]"
PIECE = rf"""
    %s | --?{WORD}[\w-]*(?<!-) | \d+(?:[.,:]\d+)* {WORD}*
    | {WORD}\w* (?: [-'] \w+ )*
    | '(?:tis|twas|em|til) \b
    | (?P<mark> [^\w\s] ) (?P=mark)*
    | \S"""
ELISION = r"""(?: [cdjlmnst] | qu | jusqu | lorsqu | puisqu | quoiqu ) ' (?= [\w%"«(] ) | """
PIECES = {"en": re.compile(PIECE, re.VERBOSE), "fr": re.compile(ELISION + PIECE, re.VERBOSE | re.IGNORECASE)}
ENGLISH = re.compile(r"(.+?)(n't|'(?:s|re|ve|ll|d|m))", re.IGNORECASE)


def plain(text):
    """NFC, with one kind of apostrophe, quotation mark, dash and space."""
    text = unicodedata.normalize("NFC", text).translate(ALIKE)
    return " ".join("—" if word in ("--", "---") else word for word in text.split())


def tokenise(text, language):
    """The tokens of a text that plain() has made, in "en" or "fr"."""
    tokens = [match.group() for match in PIECES[language].finditer(text)]
    if language == "fr":
        return tokens
    cut = (ENGLISH.fullmatch(token) for token in tokens)
    return [part for token, match in zip(tokens, cut) for part in (match.groups() if match else (token,))]
