#!/usr/bin/env python3
"""Writes tests/golden/text/: vocab.txt and tokens.json, odd texts and what the Python package `tokenizers` makes of them; tiny.pt, an
encoder with random weights, and embeddings.json, what PyTorch says of it, eagerly.

    make_text_vectors.py          (needs torch, tokenizers)

The vocabulary is made here and is nobody else's. tests/text/tokenizers_test.py compares many more texts of odd_texts() with the
package itself.
"""
import json
import pathlib
import random
import sys
import unicodedata

OUT = pathlib.Path(__file__).resolve().parent / "text"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = """the of and to in is that for it as with on be at by this from or one have an are not but all there when up use your how said
each she which their time will way about many then them write would like so these her long make thing see him two has look more day could
go come did number sound no most people my over know water than call first who may down side been now find any new work part take get place
made live where after back little only round man year came show every good me give our under name very through just form sentence great
think say help low line differ turn cause much mean before move right boy old too same tell does set three want air well also play small end
put home read hand port large spell add even land here must big high such follow act why ask men change went light kind off need house
picture try us again animal point mother world near build self earth father head stand own page should country found answer school grow
study still learn plant cover food sun four between state keep eye never last let thought city tree cross farm hard start might story saw far
sea draw left late run while press close night real life few north open seem together next white children begin got walk example ease paper
group always music those both mark often letter until mile river car feet care second book carry took science eat room friend began idea
fish mountain stop once base hear horse cut sure watch color face wood main enough plain girl usual young ready above ever red list though feel
talk bird soon body dog family direct pose leave song measure door product black short numeral class wind question happen complete ship area
half rock order fire south problem piece told knew pass since top whole king space heard best hour better true during hundred five remember
step early hold west ground interest reach fast verb sing listen six table travel less morning ten simple several vowel toward war lay against
pattern slow center love person money serve appear road map rain rule govern pull cold notice voice unit power town fine certain fly fall lead
cry dark machine note wait plan figure star box noun field rest correct able pound done beauty drive stood contain front teach week final gave
green oh quick develop ocean warm free minute strong special mind behind clear tail produce fact street inch multiply nothing course stay wheel
full force blue object decide surface deep moon island foot system busy test record boat common gold possible plane stead dry wonder laugh
thousand ago ran check game shape equate hot miss brought heat snow tire bring yes distant fill east paint language among naive cafe uber""".split()
ENDINGS = "s ed ing er est ly ness ment tion able less ful ize ise ity al ic ous ive en an on in re un th ch sh qu ou ea ee oo ai st nd rd rs".split()
SCRIPTS = [(0xdf, 0x17f), (0x250, 0x260), (0x3b1, 0x3c9), (0x430, 0x45f), (0x5d0, 0x5ea), (0x621, 0x64a), (0x905, 0x939), (0xe01, 0xe2e),
           (0x1100, 0x1112), (0x1161, 0x1175), (0x11a8, 0x11c2), (0x3041, 0x3096), (0x30a1, 0x30fa), (0x4e00, 0x4e60), (0x1f600, 0x1f640)]


def vocabulary():
    singles = [chr(c) for c in range(0x21, 0x7f) if not chr(c).isupper()]
    singles += [chr(c) for first, last in SCRIPTS for c in range(first, last + 1) if unicodedata.category(chr(c))[0] in "LS"]
    singles += list("“”‘’–—…€£¥©®°·¡¿«»。、！？\u200d\u0301\u0308")
    return list(dict.fromkeys(SPECIAL + singles + ["##" + c for c in singles if c.isalnum() or ord(c) > 0x2000] + WORDS
                              + ["##" + piece for piece in ENDINGS + WORDS[:200]]))


def one_of(r, *ranges):
    while True:
        first, last = r.choice(ranges)
        c = r.randint(first, last)
        if not 0xd800 <= c < 0xe000:
            return chr(c)


def sentence(r):
    words = []
    for _ in range(r.randint(1, 12)):
        word = r.choice(WORDS) + (r.choice(ENDINGS) if r.random() < 0.3 else "") + (r.choice(WORDS) if r.random() < 0.1 else "")
        words.append(r.choice([str.lower, str.lower, str.title, str.upper, str.swapcase])(word) + (r.choice(".,;:!?-'\"()") if r.random() < 0.3 else ""))
    return " ".join(words)


MARKS = [(0x300, 0x36f), (0x483, 0x487), (0x591, 0x5bd), (0x64b, 0x65f), (0x1ab0, 0x1aff), (0x1dc0, 0x1dff), (0x20d0, 0x20f0), (0xfe20, 0xfe2f),
         (0x11a30, 0x11a50), (0x1e130, 0x1e136), (0x1e8d0, 0x1e8d6)]
CJK = [(0x3400, 0x4dbf), (0x4e00, 0x9fff), (0xf900, 0xfaff), (0x20000, 0x2ebff), (0x2f800, 0x2fa1f), (0x3040, 0x30ff), (0xac00, 0xd7a3), (0x3000, 0x303f)]
EMOJI = [(0x1f300, 0x1f6ff), (0x1f900, 0x1faff), (0x2600, 0x27bf), (0x1f3fb, 0x1f3ff), (0x200d, 0x200d), (0xfe0f, 0xfe0f), (0x1f1e6, 0x1f1ff), (0xe0020, 0xe007f)]
ODD = [(0, 0x20), (0x7f, 0xa0), (0xad, 0xad), (0x600, 0x605), (0x61c, 0x61c), (0x6dd, 0x6dd), (0x180e, 0x180e), (0x2000, 0x200f), (0x2028, 0x202f),
       (0x205f, 0x206f), (0x3000, 0x3000), (0xfeff, 0xfeff), (0xfff0, 0xffff), (0xe000, 0xe010), (0xfdd0, 0xfdef)]


def sprinkled(r, ranges, share):
    return "".join(c + (one_of(r, *ranges) if r.random() < share else "") for c in sentence(r))


def odd_text(r):
    kind = r.randrange(14)
    if kind == 0:
        return sentence(r)
    if kind == 1:
        return sprinkled(r, MARKS, 0.2)
    if kind == 2:
        return unicodedata.normalize(r.choice(["NFC", "NFD", "NFKC"]), sprinkled(r, [(0xc0, 0x24f), (0x1e00, 0x1fff)] + MARKS[:1], 0.2))
    if kind == 3:
        return sprinkled(r, CJK, 0.2) + "".join(one_of(r, *CJK) for _ in range(r.randint(0, 20)))
    if kind == 4:
        return sprinkled(r, EMOJI, 0.1) + "".join(one_of(r, *EMOJI) for _ in range(r.randint(0, 12)))
    if kind == 5:
        return sprinkled(r, ODD, 0.2)
    if kind == 6:  # about as long as a word may be
        word = "".join(r.choice(r.choice(WORDS)) for _ in range(r.choice([99, 100, 101, 300, 5000])))
        return f"{sentence(r)} {sprinkled(r, MARKS, 0.05) if r.random() < 0.3 else ''}{word} {sentence(r)}"
    if kind == 7:
        return r.choice(["", " ", "\t\n", "\0", "\u200b", "\ufffd", "\u0301", ".", "a", "\u3000", "\x85", "\u2028", "#", "##", "##s"])
    if kind == 8:
        special = SPECIAL + ["[sep]", "[CLS", "UNK]", "[[SEP]]", "[PAD][PAD]", "[S\u0301EP]", " [MASK] "]
        return "".join(r.choice([sentence(r), r.choice(special), r.choice(special), "\0", "é"]) for _ in range(r.randint(1, 6)))
    if kind == 9:
        return "".join(one_of(r, (0, 0x10ffff)) for _ in range(r.randint(1, 30)))
    if kind == 10:
        return "".join(one_of(r, (0, 0x2fff)) for _ in range(r.randint(1, 40)))
    if kind == 11:
        return sprinkled(r, [(0x21, 0x2f), (0x3a, 0x40), (0x5b, 0x60), (0x7b, 0x7e), (0x2010, 0x205e), (0x2e00, 0x2e5f), (0xff01, 0xff65)], 0.2)
    if kind == 12:
        return sprinkled(r, [(0x370, 0x6ff), (0x900, 0xdff), (0x10a0, 0x13ff), (0x1e900, 0x1e95f), (0x10400, 0x104ff)], 0.3)
    return r.choice(["İstanbul ISTANBUL ı", "Straße STRASSE ẞ", "ﬁnd ﬂow ﬀ", "ΟΔΥΣΣΕΥΣ Σ ς", "ǅ ǈ ǋ", "１２３ Ａｂｃ", "x² m³ ½ Ⅷ ⅷ", "e\u0301\u0327 \u1e69",
                     "한국어 각", "ｶﾞ ガ が", "naïve café Über", "http://example.org/a?b=c&d#e", "user@example.org", "C++ (2020) #include <a.h>"]) + " " + sentence(r)


def odd_texts(count, seed):
    r = random.Random(seed)
    return [odd_text(r) for _ in range(count)]


def reference(pieces, max_length=None, special_tokens_in_text=True, **options):
    from tokenizers import BertWordPieceTokenizer
    tokenizer = BertWordPieceTokenizer({piece: i for i, piece in enumerate(pieces)}, **options)
    tokenizer._tokenizer.encode_special_tokens = not special_tokens_in_text
    if max_length:
        tokenizer.enable_truncation(max_length)
    return tokenizer


def write_network(pieces):
    """By the exporter; computed without TorchScript and without padding."""
    sys.path.insert(0, str(OUT.parents[2] / "models"))
    import export_text_torchscript
    import text_networks
    import torch
    export_text_torchscript.main(["--tiny", "--out", str(OUT / "tiny.pt")])
    net = text_networks.SentenceEncoder(export_text_torchscript.TINY | {"vocab_size": len(pieces)}, padding=0).eval()
    net.load_state_dict(torch.jit.load(str(OUT / "tiny.pt")).state_dict())
    tokenizer = reference(pieces, max_length=export_text_torchscript.TINY["max_position_embeddings"])
    layers, cases = {}, []
    for name in ("embeddings", "encoder.layer.0", "encoder.layer.1"):
        net.get_submodule(name).register_forward_hook(lambda _, __, output, name=name: layers.__setitem__(name, output[0][real].mean(0).tolist()))
    for text in ["", "The ship is on the sea", "Naïve café, 42!", "long " * 100, *odd_texts(20, seed=5)]:
        ids = tokenizer.encode(text).ids
        real = [i for i, token in enumerate(ids) if token != 0]  # a text may have [PAD] in it
        with torch.inference_mode():
            cases.append({"text": text, "embedding": net(torch.tensor([ids]))[0].tolist(), "layers": dict(layers)})
    (OUT / "embeddings.json").write_text(json.dumps(cases, separators=(",", ":")).replace("},{", "},\n{") + "\n")


def main():
    OUT.mkdir(exist_ok=True)
    pieces = vocabulary()
    (OUT / "vocab.txt").write_text("".join(piece + "\n" for piece in pieces))
    texts = [text for text in odd_texts(700, seed=1) if len(text) < 1500]
    cases = []
    for options in ({}, {"lowercase": False}, {"strip_accents": False}, {"handle_chinese_chars": False}, {"max_length": 8}, {"special_tokens_in_text": False}):
        tokenizer = reference(pieces, **options)
        some = texts if not options else texts[:60]
        cases.append({"options": options, "texts": [[text, tokenizer.encode(text).ids] for text in some]})
    (OUT / "tokens.json").write_text(json.dumps(cases, separators=(",", ":")).replace("]],[", "]],\n[").replace('],["', '],\n["') + "\n")
    write_network(pieces)


if __name__ == "__main__":
    main()
