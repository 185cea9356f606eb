# SPDX-License-Identifier: BSD-3-Clause
"""Reads a compiled message catalogue (.mo; GNU gettext's manual, "The Format of GNU MO Files")."""
import re
import struct


class CatalogueError(Exception):
    """A sentence on what is wrong with the file."""


def read_catalogue(path):
    """The catalogue's messages as (source, target), in its order; a message with plural forms is two, of one and of many.
    Its header, contexts and untranslated messages are left out."""
    with open(path, "rb") as file:
        data = file.read()
    order = {b"\xde\x12\x04\x95": "<", b"\x95\x04\x12\xde": ">"}.get(data[:4])
    if order is None:
        raise CatalogueError(f"{path} is no message catalogue: its first bytes are not a catalogue's")
    if len(data) < 28:
        raise CatalogueError(f"{path} ends within its head")
    revision, count, sources, targets = struct.unpack(order + "4I", data[4:20])
    if revision >> 16 > 1:
        raise CatalogueError(f"{path} is of a revision that is not known: {revision >> 16}")

    def text(table, number):
        at = table + 8 * number
        if at + 8 > len(data):
            raise CatalogueError(f"{path} ends within its table of messages")
        length, start = struct.unpack(order + "2I", data[at:at + 8])
        if start + length > len(data):
            raise CatalogueError(f"{path} ends within message {number}")
        return data[start:start + length]

    messages, charset = [], "utf-8"
    for number in range(count):
        source, target = text(sources, number), text(targets, number)
        if source == b"":
            for line in target.decode("ascii", "replace").splitlines():
                if line.lower().startswith("content-type:") and "charset=" in line.lower():
                    charset = line.lower().split("charset=")[1].strip().split(";")[0]
        messages.append((source, target))
    try:
        return [pair for source, target in messages if source
                for pair in forms(source.decode(charset), target.decode(charset))]
    except UnicodeDecodeError as error:
        raise CatalogueError(f"{path} is not in {charset}, as it says: {error}") from None
    except LookupError:
        raise CatalogueError(f"{path} is in an encoding that is not known: {charset}") from None


def forms(source, target):
    """Messages of an entry: context, end of transmission, singular, null, plural; French has two forms as English does.
    Programs that know no contexts write them in the source: "_: verb\\n" (KDE), "?verb:" (Freeciv)."""
    source = re.sub(r"(?:^|(?<=\0))(?:_: [^\n\0]*\n|\?[\w-]+:)", "", source.rpartition("\x04")[2])
    return [(one.strip(), other.strip()) for one, other in zip(source.split("\0"), target.split("\0")) if other.strip()]
