"""Options of ``fairseq-ami reward-ceiling``."""

import argparse

from fairseq_ami.choices import SIMILARITIES
from fairseq_ami.cli.arguments import above_zero, at_least, positive

LENGTHS = ("as-is", "neutral", "both")
EXAMPLE = (
    "log-q, chrf, bleu, infomax, constant, module:function, or name=weight,...; also k-log-q (AMI's, log-q times K), "
    "k (K alone, as k=-1), log-p and length"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    default = "(default: %(default)s)"
    parser.add_argument(
        "checkpoints", nargs="+", metavar="CHECKPOINT", help="pairs, or plain fairseq networks with --backward"
    )
    parser.add_argument("--backward", metavar="FILE", help="checkpoint of Q(S|T) (default: the pair's own, if any)")
    data = parser.add_argument_group("data")
    data.add_argument("--data", metavar="DIR", help="binarised data (default: those of the checkpoint's training)")
    data.add_argument("-s", "--source-lang", help="source language (default: as the checkpoint was trained)")
    data.add_argument("-t", "--target-lang", help="target language (default: as the checkpoint was trained)")
    data.add_argument("--subset", default="valid", metavar="NAME,...", help=f"splits of the data {default}")
    data.add_argument("--sources", type=positive, default=500, metavar="N", help=f"sources per split {default}")
    data.add_argument("--random-sources", action="store_true", help="choose the sources at random, not the first ones")
    samples = parser.add_argument_group("samples")
    samples.add_argument("--samples", type=at_least(2), default=16, metavar="N", help=f"samples per source {default}")
    temperatures = "temperatures of the samples (default: 0.6 1)"
    samples.add_argument("--temperature", type=above_zero, nargs="+", default=[0.6, 1.0], help=temperatures)
    samples.add_argument("--topk", type=at_least(0), default=0, metavar="N", help="as --sample-topk of training")
    samples.add_argument("--topp", type=above_zero, default=1.0, metavar="P", help="as --sample-topp of training")
    samples.add_argument("--seed", type=int, default=1, help=f"seed of samples and of chosen sources {default}")
    add_rewards(parser.add_argument_group("rewards"))
    texts = parser.add_argument_group("texts and machine")
    texts.add_argument(
        "--tokenizer", choices=["moses", "nltk", "space"], help="detokenise before BLEU and chrF (default: tokens)"
    )
    texts.add_argument("--bleu-tokenize", help="sacreBLEU's tokenizer (default: none for tokens, 13a for --tokenizer)")
    texts.add_argument("--beam", type=positive, default=5, help=f"beam of the search beside the picks {default}")
    texts.add_argument("--lenpen", type=float, default=1.0, help=f"length penalty of that search {default}")
    texts.add_argument("--max-tokens", type=positive, default=4000, help=f"tokens per batch, samples counted {default}")
    texts.add_argument("--cpu", action="store_true", help="leave a GPU alone")
    texts.add_argument(
        "--picks", metavar="PREFIX", help="write each source and the sample that the reward picks, with subwords, to "
        "PREFIX.SOURCE and PREFIX.TARGET, text for fairseq-preprocess (best-of-N fine-tuning). It needs one "
        "checkpoint, one subset, one temperature and one --reward, and --reward-length as-is or neutral",
    )  # fmt: skip
    texts.add_argument("--output", metavar="FILE", help="write the table to FILE as well, .tsv or .json")


def add_rewards(group: argparse._ArgumentGroup) -> None:
    default = "(default: %(default)s)"
    group.add_argument(
        "--reward", nargs="+", metavar="EXPR", help=f"rewards to judge, named as in training: {EXAMPLE}. "
        "Without this option: log-q, k-log-q, log-p, log-q=1,log-p=1, chrf and bleu. "
        "Without a backward network: log-p, chrf and bleu"
    )  # fmt: skip
    group.add_argument(
        "--reward-length", choices=LENGTHS, default="both",
        help=f"neutral subtracts what is linear in a sample's length; both shows two rows per reward {default}",
    )  # fmt: skip
    group.add_argument(
        "--reward-per", choices=["token", "sentence"], default="token",
        help=f"token divides log-q and log-p by the tokens of the source, as training does {default}",
    )  # fmt: skip
    group.add_argument(
        "--multiplier-similarity", choices=SIMILARITIES, default=SIMILARITIES[0],
        help=f"what K is 1 minus of, as in training {default}",
    )  # fmt: skip
    group.add_argument("--center-cosine", action="store_true", help="as --center-cosine of training, for k-log-q")
    group.add_argument(
        "--reward-post-process", default="@@ ", metavar="HOW",
        help="how subwords are undone before anything reads text: '@@ ', sentencepiece, ... (default: '@@ ')",
    )  # fmt: skip
