"""BLEU on Moses tokens with hyphenated compounds split, as papers on WMT14 En-De report it since 2017.

    python compound_split_bleu.py REFERENCE HYPOTHESIS --language de

Both files are plain, detokenised text. Punctuation is normalised and the text tokenised (no aggressive splitting of
hyphens), then a hyphen between two characters becomes a token of its own: `ein-zwei` -> `ein ##AT##-##AT## zwei`. The
BLEU is sacreBLEU's with `tok:none`: not comparable with scores on detokenised text, usually higher.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import List, Sequence

from sacrebleu.metrics import BLEU
from sacremoses import MosesPunctNormalizer, MosesTokenizer


def split_compounds(tokens: str) -> str:
    """Hyphens inside words as tokens of their own."""
    return re.sub(r"(\S)-(\S)", r"\1 ##AT##-##AT## \2", tokens)


def prepared(lines: Sequence[str], language: str) -> List[str]:
    normalizer, tokenizer = MosesPunctNormalizer(language), MosesTokenizer(language)
    return [split_compounds(tokenizer.tokenize(normalizer.normalize(line), return_str=True)) for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reference", type=Path)
    parser.add_argument("hypothesis", type=Path)
    parser.add_argument("--language", required=True, help="of both files")
    args = parser.parse_args()
    # not splitlines(): news text holds other separators of lines
    files = (args.reference, args.hypothesis)
    texts = [path.read_text(encoding="utf-8").removesuffix("\n").split("\n") for path in files]
    if len(texts[0]) != len(texts[1]):
        sys.exit(f"{args.reference} has {len(texts[0])} lines, {args.hypothesis} has {len(texts[1])}")
    reference, hypothesis = (prepared(lines, args.language) for lines in texts)
    bleu = BLEU(tokenize="none", force=True)
    score = bleu.corpus_score(hypothesis, [reference])
    print(score.format(width=1, signature=str(bleu.get_signature())))


if __name__ == "__main__":
    main()
