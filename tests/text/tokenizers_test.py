#!/usr/bin/env python3
"""The tokenizer beside the Python package `tokenizers`: odd texts of all kinds, and every character there is.

    tokenizers_test.py DUMP_TOKENS      GRAFT_VOCABULARY=vocab.txt takes another vocabulary than the one made here
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import unicodedata
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "golden"))
import make_text_vectors  # noqa: E402

DUMP = sys.argv.pop(1)


def graft_tokens(pieces, texts, **options):
    with tempfile.NamedTemporaryFile("w", suffix=".txt", newline="\n") as vocabulary:
        vocabulary.write("".join(piece + "\n" for piece in pieces))
        vocabulary.flush()
        encoded = [text if isinstance(text, bytes) else text.encode() for text in texts]
        result = subprocess.run([DUMP, vocabulary.name, *(f"{name}={int(value)}" for name, value in options.items())], check=True,
                                input=b"".join(b"%d\n" % len(text) + text for text in encoded), stdout=subprocess.PIPE)
    lines = result.stdout.decode().splitlines()
    assert len(lines) == len(texts), (len(lines), len(texts))
    return [line if line.startswith("error") else [int(i) for i in line.split()] for line in lines]


class Tokenizers(unittest.TestCase):
    def compare(self, pieces, texts, **options):
        reference = make_text_vectors.reference(pieces, **options)
        expected = [encoding.ids for encoding in reference.encode_batch(texts)]
        wrong = [(text, found, ids) for text, found, ids in zip(texts, graft_tokens(pieces, texts, **options), expected) if found != ids]
        print(f"{len(texts)} texts, {sum(map(len, expected))} tokens, {options or 'defaults'}: {len(wrong)} differ", flush=True)
        self.assertEqual(wrong[:3], [])

    def test_odd_texts(self):
        given = os.environ.get("GRAFT_VOCABULARY")
        pieces = pathlib.Path(given).read_text().splitlines() if given else make_text_vectors.vocabulary()
        self.compare(pieces, make_text_vectors.odd_texts(12000, seed=2))
        for options in ({"lowercase": False}, {"strip_accents": False}, {"lowercase": False, "strip_accents": True}, {"handle_chinese_chars": False},
                        {"max_length": 9}, {"special_tokens_in_text": False}):
            with self.subTest(options=options):
                self.compare(pieces, make_text_vectors.odd_texts(2000, seed=3), **options)

    def test_every_character(self):
        """Between letters, and behind an accent that it may change places with; the vocabulary has all that can come of it."""
        characters = [chr(c) for c in range(0x110000)
                      if not 0xd800 <= c < 0xe000 and (c < 0x20000 or c % 0x10000 > 0xfff0 or c & 0xfff < 0x200 or unicodedata.category(chr(c))[0] not in "C")]
        kept = [c for c in characters if not c.isspace()]
        pieces = make_text_vectors.SPECIAL + kept + ["##" + c for c in kept]
        size = 40
        texts = ["".join(f"a{c}b{c}\u0301{c} " for c in characters[i:i + size]) for i in range(0, len(characters), size)]
        for options in ({}, {"lowercase": False}):
            with self.subTest(options=options):
                self.compare(pieces, texts, **options)

    def test_what_is_no_utf8_is_refused(self):
        pieces = make_text_vectors.vocabulary()
        for text, byte in ((b"\xff", 1), (b"abc \xc3(", 5), (b"caf\xe9", 4), (b"\xed\xa0\x80", 1), (b"x\xc0\xaf", 2), (b"[SEP] [CLS]\xf4\x90\x80\x80", 12),
                           ("é".encode() + b"\xe2\x82", 3)):
            with self.subTest(text=text):
                with self.assertRaises(UnicodeDecodeError):
                    text.decode()
                self.assertIn(f"byte {byte}: expected UTF-8", graft_tokens(pieces, [text])[0])


if __name__ == "__main__":
    unittest.main()
