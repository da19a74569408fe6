"""What the networks of this package say: translations with scores in both directions, and text between two sentences.

`make try` runs it. It needs neither data nor a connection.
"""

import logging
import sys
import time
import warnings

from fairseq_ami.hub import AMIHubInterface, TextVAEInterface, from_pretrained, text_vae

PAIR, VAE = "multi30k.en-de", "multi30k.en-vae"
ENGLISH = ["A man in a green jacket is standing on a ladder and painting a wall.", "Two dogs are playing in the snow."]
GERMAN = ["Eine Frau mit einem roten Hut liest ein Buch.", "Drei Kinder spielen am Strand."]
CANDIDATES = 5


def translations(pair: AMIHubInterface) -> None:
    """The best translation of each sentence, with both networks' word about it."""
    for direction, title, sentences in (
        ("forward", "English -> German, by P(T|S)", ENGLISH),
        ("backward", "German -> English, by Q(S|T)", GERMAN),
    ):
        other = "backward" if direction == "forward" else "forward"
        found = pair.translate(sentences, direction=direction)
        own, back = pair.score(sentences, found, direction), pair.score(found, sentences, other)
        print(f"\n{title}. In brackets: log-likelihood of the translation, and of the source given it, in nats.")
        for source, target, one, two in zip(sentences, found, own, back):
            print(f"  {source}\n    {target}  [{one.log_prob:.1f}, {two.log_prob:.1f}]")


def reranked(pair: AMIHubInterface) -> None:
    """Samples with latent noise, in the order in which Q recovers the source from them."""
    source = ENGLISH[0]
    samples = list(dict.fromkeys(pair.sample([source], CANDIDATES, noise=True, temperature=0.7)[0]))
    scores = pair.score(samples, [source] * len(samples), "backward")
    print("\nSamples with latent noise, the one first from which Q recovers the source best (log Q in nats):")
    for score, text in sorted(zip((score.log_prob for score in scores), samples), reverse=True):
        print(f"  {score:6.1f}  {text}")


def between(vae: TextVAEInterface) -> None:
    print("\nFrom one sentence to another through the latent space of a text VAE:")
    for text in vae.interpolate(ENGLISH[0], ENGLISH[1], steps=5):
        print(f"  {text}")


def main() -> None:
    logging.disable(logging.INFO)  # fairseq tells about every file that it opens
    warnings.filterwarnings("ignore", category=UserWarning, module=r"(torch|fairseq)\.")
    start = time.time()
    pair = from_pretrained(PAIR).eval()
    translations(pair)
    reranked(pair)
    between(text_vae(VAE))
    print(f"\n{time.time() - start:.1f} seconds. More: fairseq-ami networks, docs/networks.md, examples/tour")


if __name__ == "__main__":
    sys.exit(main())
