# %% [markdown]
# # A tour: what P, Q, K, the noise and z do
#
# P(T|S) translates English captions into German, and Q(S|T) tells how well the source can be recovered from T.
# Run the whole file (`python examples/tour/tour.py`), or cell by cell in an editor that knows `# %%`.
# It writes a page with tables and figures. It needs no data and no connection.

# %%
"""The tour; see the comments. Words like K are explained in docs/glossary.md."""

import argparse
import html
import logging
import re
import warnings
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import torch

from fairseq_ami.files import whole, write_text
from fairseq_ami.hub import AMIHubInterface, TextVAEInterface, from_pretrained, text_vae
from fairseq_ami.objectives import cosine_multiplier
from fairseq_ami.rewards.similarity import chrf
from fairseq_ami.tools.figures.canvas import new_figure, save
from fairseq_ami.tools.figures.latent import principal_components

PAIR, VAE = "multi30k.en-de", "multi30k.en-vae"
SENTENCES = [
    (
        "A man in a green jacket is standing on a ladder and painting a wall.",
        "Ein Mann in einer grünen Jacke steht auf einer Leiter und streicht eine Wand.",
    ),
    ("Two dogs are playing with a red ball in the snow.", "Zwei Hunde spielen im Schnee mit einem roten Ball."),
    (
        "A little girl with a hat is eating ice cream at the beach.",
        "Ein kleines Mädchen mit einem Hut isst am Strand ein Eis.",
    ),
]
FROM_TO = ("A man is sitting on a bench.", "Two dogs are running through the snow.")
NEAR = [
    "A woman is sitting on a bench.", "A man is standing on the street.", "Two dogs are playing in the grass.",
    "A dog is running through the water.", "A group of people are standing in the snow.",
]  # fmt: skip
Row = Dict[str, Any]


# %% [markdown]
# ## 1. What P, Q and K say about samples
# P draws translations T' with latent noise.
# log P(T'|S) is how likely P finds one, and log Q(S|T') how well Q recovers the source from it.
# K(T') is how far the words of T' are from those of the reference: 0 for the same words.
# The reward of AMI is K times log Q. The tour adds chrF, the likeness to the reference in percent.


# %%
def studied(pair: AMIHubInterface, samples: int, seed: int = 1) -> List[List[Row]]:
    """Of each sentence the different samples with what P, Q, K and chrF say about them."""
    sources = [source for source, _ in SENTENCES]
    drawn = pair.sample(sources, samples, noise=True, temperature=0.8, seed=seed)
    return [table(pair, *sentence, list(dict.fromkeys(texts))) for sentence, texts in zip(SENTENCES, drawn)]


def table(pair: AMIHubInterface, source: str, reference: str, outputs: Sequence[str]) -> List[Row]:
    log_p = pair.score([source] * len(outputs), outputs, "forward")
    log_q = pair.score(outputs, [source] * len(outputs), "backward")
    likeness = chrf([list(outputs)], [reference])[0]
    rows = []
    for output, p, q, like in zip(outputs, log_p, log_q, likeness):
        k = multiplier(pair, reference, output)
        per_token = q.log_prob / len(q.tokens)
        rows.append({"T'": output, "log P": p.log_prob, "log Q": q.log_prob, "K": k, "reward": k * per_token})
        rows[-1]["chrF"] = like
    return rows


def multiplier(pair: AMIHubInterface, reference: str, output: str) -> float:
    """K(T') of equation 11, with the embeddings of P's decoder."""
    dictionary = pair.task.target_dictionary
    with pair.facing("backward"):  # Q reads the language that P writes
        ids = [pair.encode(text)[None] for text in (reference, output)]
    table = pair.models[0].forward_model.decoder.embed_tokens.weight
    return float(cosine_multiplier(*ids, table, (dictionary.pad(), dictionary.bos(), dictionary.eos()))[0])


# %% [markdown]
# ## 2. What the latent noise changes
# The noise moves what the encoder says about the source. The table counts the different translations of all sentences.
# In a pair as small as this one the temperature changes more than the noise does.


# %%
def variety(pair: AMIHubInterface, samples: int) -> List[Row]:
    """How many different translations a number of samples has, without noise and with it."""
    rows = []
    for temperature in (0.2, 0.5, 0.8):
        row: Row = {"temperature": temperature}
        for title, noise in (("without noise", False), ("with noise", True)):
            drawn = pair.sample([s for s, _ in SENTENCES], samples, noise=noise, temperature=temperature)
            row[title] = sum(len(set(texts)) for texts in drawn)
        rows.append(row)
    return rows


# %% [markdown]
# ## 3. Reranking by Q
# Beam search orders translations by log P per symbol. `--lambda 1` adds log Q per symbol of the source.
# The tables show the n-best list of each sentence, and its order without Q and with it.


# %%
def reranked(pair: AMIHubInterface, beam: int, weight: float) -> List[List[Row]]:
    """Of each sentence the hypotheses in the order with Q, each with its place in the order without."""
    from fairseq_ami.tools.formats.search import Search
    from fairseq_ami.tools.translation.fairseq_engine import FairseqEngine
    from fairseq_ami.tools.translation.translator import Reranking, Translator

    engine, sources = FairseqEngine(pair, "forward"), [source for source, _ in SENTENCES]
    search = Search(beam=beam, nbest=beam)
    plain, with_q = (
        Translator(engine, search, Reranking(engine.reversed(), x, 0.0)).translate(sources, 0) for x in (0.0, weight)
    )
    found = []
    for before, after in zip(plain, with_q):
        places = {row.text: place for place, row in reversed(list(enumerate(before, 1)))}
        found.append(
            [
                {
                    "with Q": number,
                    "without Q": places[row.text],
                    "T'": row.text,
                    "log P": row.log_p,
                    "log Q": row.log_q,
                }
                for number, row in enumerate(after, 1)
            ]
        )
    return found


# %% [markdown]
# ## 4. Between two sentences
# A text VAE writes every sentence as a point z. Points on the line between two sentences are sentences too.


# %%
def interpolated(vae: TextVAEInterface, steps: int) -> List[Row]:
    texts = vae.interpolate(*FROM_TO, steps=steps)
    return [{"weight": number / (steps - 1), "sentence": text} for number, text in enumerate(texts)]


# %% [markdown]
# ## Figures and the page


# %%
def draw_samples(found: List[List[Row]], path: Path) -> None:
    """log P against log Q, one panel per sentence; the colour is chrF."""
    figure = new_figure(4.0 * len(found), 3.4)
    panels = figure.subplots(1, len(found), squeeze=False)[0]
    for panel, rows, (source, _) in zip(panels, found, SENTENCES):
        columns = [[row[name] for row in rows] for name in ("log P", "log Q", "chrF")]
        points = panel.scatter(*columns[:2], c=columns[2], vmin=0, vmax=100, cmap="viridis", s=36)
        panel.set_title(source if len(source) < 40 else source[:38] + " ...", fontsize=8)
        panel.set_xlabel("log P(T'|S), nats")
        panel.set_ylabel("log Q(S|T'), nats")
    figure.colorbar(points, ax=list(panels), label="chrF against the reference")
    save(figure, str(path))


def draw_rewards(found: List[List[Row]], path: Path) -> None:
    """The reward K log Q against chrF: does the reward know the better sample?"""
    figure = new_figure(5.0, 3.4)
    panel = figure.subplots()
    for number, rows in enumerate(found, 1):
        panel.scatter([row["chrF"] for row in rows], [row["reward"] for row in rows], label=f"sentence {number}")
    panel.set_xlabel("chrF against the reference")
    panel.set_ylabel("reward K log Q, nats per symbol")
    panel.legend()
    save(figure, str(path))


@torch.no_grad()
def draw_line(vae: TextVAEInterface, path: Path) -> None:
    """Posterior means of a few sentences in a plane, and the line of the interpolation."""
    texts = [*FROM_TO, *NEAR]
    points = principal_components(vae.posterior_means(texts)).points
    figure = new_figure(6.5, 4.0)
    panel = figure.subplots()
    panel.plot(*points[:2].T, "-o", color="tab:red")
    panel.scatter(*points[2:].T, color="tab:gray")
    for text, point in zip(texts, points.tolist()):
        panel.annotate(text, point, fontsize=7, xytext=(4, 5), textcoords="offset points")
    panel.margins(x=0.55)
    panel.set_xlabel("first principal component of the posterior means")
    panel.set_ylabel("second")
    save(figure, str(path))


def as_table(rows: Sequence[Row]) -> str:
    def cell(value: Any) -> str:
        return (
            f"<td class=number>{value:.2f}</td>" if isinstance(value, float) else f"<td>{html.escape(str(value))}</td>"
        )

    head = "".join(f"<th>{html.escape(name)}</th>" for name in rows[0])
    body = "".join("<tr>" + "".join(cell(value) for value in row.values()) + "</tr>\n" for row in rows)
    return f"<table><tr>{head}</tr>\n{body}</table>"


def comments() -> List[Tuple[str, str]]:
    """The chapters of this file: heading and text."""
    cells = Path(__file__).read_text(encoding="utf-8").split("# %% [markdown]\n")[1:]
    texts = [[line[2:] for line in cell.split("\n# %%")[0].split("\n") if line.startswith("# ")] for cell in cells]
    return [(lines[0].lstrip("# "), " ".join(lines[1:])) for lines in texts]


def _prose(text: str) -> str:
    return re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(text))


def page(parts: Sequence[Sequence[str]]) -> str:
    """HTML: the chapters of this file, each with its tables and figures."""
    style = "body{font:16px sans-serif;max-width:60em;margin:2em auto}td,th{padding:.2em .6em;text-align:left}"
    style += "table{border-collapse:collapse;margin:1em 0}td.number{text-align:right}tr{border-bottom:1px solid #ddd}"
    style += "img{max-width:100%}"
    blocks = []
    for (title, text), shown in zip(comments(), [[], *parts]):
        level = "h2" if blocks else "h1"
        blocks.append(f"<{level}>{html.escape(title)}</{level}>\n<p>{_prose(text)}</p>\n" + "\n".join(shown))
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>AMI: a tour</title><style>{style}</style>"
    return head + "\n" + "\n".join(blocks) + "\n</html>\n"


def tour(output: str, samples: int = 12, beam: int = 5, figures: str = "svg") -> None:
    """Everything, into the folder *output*, whole or not at all."""
    pair, vae = from_pretrained(PAIR).eval(), text_vae(VAE)
    found = studied(pair, samples)
    with whole(output, parents=True) as folder:
        place = Path(folder)
        place.mkdir()
        draw_samples(found, place / f"samples.{figures}")
        draw_rewards(found, place / f"rewards.{figures}")
        draw_line(vae, place / f"line.{figures}")
        samples_of = [
            f"<p>S: {html.escape(source)}<br>T: {html.escape(reference)}</p>{as_table(rows)}"
            for (source, reference), rows in zip(SENTENCES, found)
        ]
        pictures = {name: f'<img src="{name}.{figures}" alt="{name}">' for name in ("samples", "rewards", "line")}
        parts = [
            [*samples_of, pictures["samples"], pictures["rewards"]],
            [as_table(variety(pair, samples))],
            [as_table(rows) for rows in reranked(pair, beam, 1.0)],
            [as_table(interpolated(vae, 7)), pictures["line"]],
        ]
        write_text(str(place / "index.html"), page(parts))
    print(f"{output}/index.html")


# %%
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What P, Q, K, the noise and z do, as a page with figures.")
    parser.add_argument("--output", default="tour-output", metavar="DIR")
    parser.add_argument("--samples", type=int, default=12, help="samples per sentence (default: 12)")
    parser.add_argument(
        "--beam", type=int, default=5, help="width of the beam, and hypotheses per sentence (default: 5)"
    )
    parser.add_argument("--figures", choices=["png", "svg"], default="svg")
    arguments, _ = parser.parse_known_args()  # an editor that runs cells has arguments of its own
    logging.disable(logging.INFO)  # fairseq tells about every file that it opens
    warnings.filterwarnings("ignore", category=UserWarning, module=r"(torch|fairseq)\.")
    tour(arguments.output, arguments.samples, arguments.beam, arguments.figures)
