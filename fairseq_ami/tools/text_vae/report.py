"""The tables of ``fairseq-ami vae-eval``."""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Sequence

from fairseq_ami.tools.text_vae.gaps import Gaps, overfit
from fairseq_ami.tools.text_vae.generated_text import MEASURES, GeneratedText
from fairseq_ami.tools.text_vae.likelihood import TextVAEMetrics
from fairseq_ami.tools.text_vae.ngram_lm import ORDER, RESERVED, Perplexity

_TITLES = dict(zip(MEASURES, ("FPPL", "RPPL", "RPPL-closed")))
LATENT = "nll kl ppl iw_nll mi_batch mi marginal_kl donsker_varadhan tangent".split()


@dataclass
class Row:
    """Of one checkpoint.

    Attributes:
        text: its generated text, one entry a decoding.
        gaps: of --svi-steps, on the measured split and, if it is another, on the one to compare with.
        remarks: what has to be said about it.
    """

    name: str
    checkpoint: str
    metrics: TextVAEMetrics
    text: List[GeneratedText] = field(default_factory=list)
    gaps: List[Gaps] = field(default_factory=list)
    remarks: List[str] = field(default_factory=list)

    def as_dict(self) -> Dict[str, Any]:
        """For JSON."""
        text = [entry.as_dict() for entry in self.text]
        named = {"name": self.name, "checkpoint": self.checkpoint, **self.metrics.as_dict()}
        return {**named, "generated": text, "gaps": [entry.as_dict() for entry in self.gaps], "remarks": self.remarks}


def tables(rows: Sequence[Row], mi_batch: int, iw_samples: int, iw_bf16: bool = False) -> str:
    """The likelihood and latent metrics, the generated text, and what has to be said about them."""
    lines = [*_aligned([_latent_header(mi_batch), *map(_latent, rows)]), *_latent_notes(rows, iw_samples, iw_bf16)]
    if any(row.gaps for row in rows):
        lines += ["", *_aligned([_GAPS, *(cells for row in rows for cells in _gaps(row))]), *_gap_notes(rows)]
    text = [cells for row in rows for cells in _text(row)]
    if text:
        header = "model decoding sentences distinct tokens/sent FPPL RPPL unseen RPPL-closed".split()
        lines += ["", *_aligned([header, *text]), *_text_notes(rows)]
    lines += [f"{row.name}: {remark}" for row in rows for remark in row.remarks]
    return "\n".join(lines)


def _latent_header(mi_batch: int) -> List[str]:
    return f"model sentences NLL KL PPL IW-NLL MI/{mi_batch} MI/all KL(q(z)|p) DV tangent AU".split()


def _latent(row: Row) -> List[str]:
    numbers = [_number(getattr(row.metrics, name)) for name in LATENT]
    units = row.metrics.active_units
    return [row.name, str(row.metrics.sentences), *numbers, "-" if units is None else str(units)]


def _latent_notes(rows: Sequence[Row], iw_samples: int, iw_bf16: bool) -> List[str]:
    notes = ["nats per sentence; NLL: negative ELBO at beta 1, one z; PPL = exp(NLL / tokens), end symbols counted"]
    if any(row.metrics.mi is not None for row in rows):
        notes.append("MI: by the aggregated posterior of a batch or of all sentences; DV, tangent: the critic's bounds")
    if any(row.metrics.kl is None for row in rows):
        notes.append("a language model's NLL and PPL are exact: a VAE's are upper bounds on the true ones")
    if any(row.metrics.iw_nll is not None for row in rows):
        how = ", decoder in bfloat16" if iw_bf16 else ""
        notes.append(f"IW-NLL: {iw_samples} samples{how}; tighter than NLL, not to be compared with that column")
    return notes


_GAPS = "model text sentences NLL SVI-NLL IW-NLL amortisation approximation".split()


def _gaps(row: Row) -> List[List[str]]:
    return [
        [
            row.name,
            entry.text,
            str(entry.sentences),
            _number(entry.nll),
            _number(entry.svi_nll),
            _number(entry.iw_nll),
            f"{_number(entry.amortisation)} +- {_number(entry.amortisation_error)}",
            _number(entry.approximation),
        ]
        for entry in row.gaps
    ]


def _gap_notes(rows: Sequence[Row]) -> List[str]:
    notes = [
        "SVI-NLL: -ELBO after the posterior of each sentence was optimised, by samples that the optimisation has not "
        "seen: a valid upper bound on the exact NLL, where inference takes as many steps",
        "amortisation: NLL minus SVI-NLL, and its standard error; approximation: SVI-NLL minus IW-NLL. All on the same "
        "sentences, so NLL and IW-NLL differ from those of the whole split above",
    ]
    for row in rows:
        if len(row.gaps) == 2:
            test, training = row.gaps
            notes.append(
                f"{row.name}: the encoder loses {_number(overfit(test, training))} nats more on {test.text} than on "
                f"{training.text} (over-fitting)"
            )
    return notes


def _text(row: Row) -> List[List[str]]:
    return [
        [
            row.name,
            entry.decoding,
            str(entry.sentences),
            str(entry.distinct),
            f"{entry.tokens_per_sentence:.1f}",
            _perplexity(entry, "fppl"),
            _perplexity(entry, "rppl"),
            _unseen(entry.rppl),
            _perplexity(entry, "rppl_closed"),
        ]
        for entry in row.text
    ]


def _perplexity(entry: GeneratedText, name: str) -> str:
    value: Optional[Perplexity] = getattr(entry, name)
    if value is None:
        return "none"
    return f"{value.including_oov:.2f}" + ("*" if name in entry.remarks else "")


def _unseen(rppl: Optional[Perplexity]) -> str:
    return "-" if rppl is None else f"{100 * rppl.oov / rppl.tokens:.1f}%"


def _text_notes(rows: Sequence[Row]) -> List[str]:
    notes = [
        f"FPPL, RPPL: KenLM, modified Kneser-Ney {ORDER}-grams, end symbols and unseen words counted, "
        f"<unk> as the ordinary word {RESERVED['<unk>']}",
        "unseen: tokens of the test text that were never generated. RPPL takes them for one word, likely if few words "
        "were generated; RPPL-closed shares its probability among the vocabulary",
    ]
    if any(entry.remarks for row in rows for entry in row.text):
        notes.append("*: lmplz could not estimate the discounts and used its fall-back ones: no fair comparison")
    for row in rows:
        for entry in row.text:
            by_reason: Dict[str, List[str]] = {}
            for name in MEASURES:
                if name in entry.remarks:
                    by_reason.setdefault(entry.remarks[name], []).append(_TITLES[name])
            for reason, names in by_reason.items():
                notes.append(f"{row.name}, {entry.decoding}, {', '.join(names)}: {reason}")
    return notes


def _number(value: Optional[float]) -> str:
    return "-" if value is None else f"{round(value, 2) + 0.0:.2f}"  # never -0.00


def _aligned(cells: Sequence[Sequence[str]]) -> List[str]:
    """The first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*cells)]
    return [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))])
        for row in cells
    ]
