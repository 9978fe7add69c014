"""Makes bert_reference.txt: pairs of sentences as BERT's own tokenizer, written in Python, encodes them.

    pip install transformers==4.57.1
    python bert_reference.py VOCAB_TXT > bert_reference.txt

VOCAB_TXT is the vocabulary of bert-base-uncased. `BertTokenizer` is the pure Python code, not the `tokenizers` library that is tested with
its numbers. Of the vocabulary only the tokens that occur are written: with greedy longest matches the others change nothing.
"""

import sys

from transformers import BertTokenizer

LENGTH = 128
PAIRS = [
    ("The committee met on Tuesday, and nobody objected.", "No one objected at the meeting."),
    ("It doesn't rain in the valley during the summer months.", "It never rains there."),
    ("She paid $3,250.75 for the re-conditioned piano!", "The piano was free of charge."),
    ("Zürich, São Paulo and Århus are café towns.", "These towns have cafés"),
    ("i̇stanbul ve İzmir'de naïve bir coöperation", "ÉCOLE NORMALE SUPÉRIEURE"),
    ("我们 met Müller-Lüdenscheidt at 7:45 p.m.", "東京 is far away"),
    ("An emoji \U0001f600 and a rare sign \u16a0 follow.", "Signs?"),
    ("A zero\u200bwidth\u00a0space,  two   spaces\\tand a tab", "soft\u00adhyphen and \u2028 separator"),
    ("x" * 101 + " is too long a word", "y" * 100),
    ("pneumonoultramicroscopicsilicovolcanoconiosis", "antidisestablishmentarianism"),
    ("", "The premise is empty."),
    ("The hypothesis is empty.", ""),
    ("(Well) -- that's \"it\": [a/b] {c} ~d~ `e` ^f^ #g @h &i *j %k <l> =m+ |n| _o_ ;p?", "'tis 'twas; y'all'd've"),
    ("U.S.A. e.g. 1st 2nd 3rd 1990s 0x1F 3.14e-10", "5'11\" 50% #1 C++ ½ ² ﬁ"),
    ("The cat sat on the mat and looked at the dog. " * 14, "A cat looked."),
    ("A dog barked.", "The bird sang in the old tree near the house. " * 16),
    ("Every word of this sentence is short. " * 12, "They said it again and again. " * 13),
]


def main():
    tokenizer = BertTokenizer(sys.argv[1], do_lower_case=True)
    used, lines = set(), []
    for first, second in PAIRS:
        texts = [text.replace("\\t", "\t") for text in (first, second)]
        encoded = tokenizer(*texts, truncation="longest_first", max_length=LENGTH)
        assert "\t" not in first + second and "\n" not in first + second
        used.update(encoded["input_ids"])
        numbers = [" ".join(map(str, encoded[key])) for key in ("input_ids", "token_type_ids")]
        lines.append("\t".join(["pair", first, second, *numbers]))
    used.update(tokenizer.convert_tokens_to_ids(["[PAD]", "[UNK]", "[CLS]", "[SEP]"]))
    print(f"types\t{len(tokenizer)}")
    for id in sorted(used):
        print(f"token\t{id}\t{tokenizer.convert_ids_to_tokens(id)}")
    print("\n".join(lines))


main()
