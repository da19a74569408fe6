"""From dialogues to a folder that fairseq trains on: words, vocabulary or subwords, text and binarised pairs."""

import contextlib
import json
import os
import shutil
from dataclasses import asdict, dataclass, fields
from typing import Callable, Dict, Iterable, List, Optional, Sequence, Tuple

from fairseq.binarizer import BinarizeSummary, FileBinarizer, VocabularyDatasetBinarizer
from fairseq.data import Dictionary
from fairseq.tokenizer import tokenize_line
from subword_nmt.apply_bpe import BPE
from subword_nmt.learn_bpe import learn_bpe

from fairseq_ami.data.dialogue import (
    CONTEXT,
    DIALOGUE,
    HISTORY,
    LAST,
    REPLY,
    SEPARATOR,
    Dialogue,
    Example,
    examples,
    joined,
)
from fairseq_ami.errors import AMIError
from fairseq_ami.tools.replies.readers import read_dialogues, tokenize

BACKWARD = "backward"  # folder of the backward network's own pairs
CODES, REPORT, WORK = "bpecodes", "dialog-prepare.json", "work"
PAIRS = {"": (HISTORY, REPLY), BACKWARD: (CONTEXT, LAST)}


@dataclass(frozen=True)
class Settings:
    """How a corpus is made.

    Attributes:
        form: format of the input files.
        history: utterances of a history.
        persona: put the persona's sentences before the history.
        lowercase: of all words.
        bpe_merges: merge operations to learn on the training dialogues; None leaves words whole.
        vocab_size: keep that many of the most frequent words; None keeps all.
        threshold: drop words that occur less often in the training dialogues.
        workers: processes.
    """

    form: str
    history: int = 3
    persona: bool = False
    lowercase: bool = False
    bpe_merges: Optional[int] = None
    vocab_size: Optional[int] = None
    threshold: int = 0
    workers: int = 1


@dataclass
class Counts:
    """Of one split. Words and unknown words are those of the replies, as the networks read them; both are
    filled in last.

    Attributes:
        empty_histories, empty_replies: examples that were dropped.
    """

    dialogues: int = 0
    utterances: int = 0
    examples: int = 0
    empty_histories: int = 0
    empty_replies: int = 0
    reply_words: int = 0
    unknown_words: int = 0


def prepare(folder: str, splits: Dict[str, Sequence[str]], settings: Settings) -> Tuple[Dict[str, Counts], int]:
    """Make a corpus in an empty *folder*.

    ``SPLIT.hist`` and ``SPLIT.reply`` hold the words, an example a line; ``SPLIT.hist-reply.*`` the binarised
    pairs; ``backward/SPLIT.context-last.*`` those of the backward network. ``SPLIT.dialogue`` holds whole dialogues of
    two utterances or more, one a line and without persona, ``SPLIT.dialogue.*`` the binarised ones. All dictionaries
    are the same.

    Args:
        folder: where.
        splits: input files of each split.
        settings: how.

    Returns:
        Counts of each split, and the size of the dictionary.

    Raises:
        AMIError: files that cannot be read, malformed lines, or a split without an example.
    """
    work = os.path.join(folder, WORK)
    os.makedirs(work)
    os.makedirs(os.path.join(folder, BACKWARD))
    counts, found, spoken = {}, {}, {}
    training: List[str] = []
    for split, paths in splits.items():
        counts[split] = Counts()
        found[split], spoken[split], utterances = _read(paths, settings, counts[split])
        if not found[split]:
            raise AMIError(f"--{split} {' '.join(paths)}: no reply with an utterance before it")
        if split == "train":
            training = utterances
        _write_pairs(folder, split, found[split], PAIRS[""], str)
        _write_dialogues(folder, split, spoken[split], str)
    encode: Callable[[str], str] = str
    if settings.bpe_merges:
        encode = _learn_subwords(os.path.join(folder, CODES), training, settings.bpe_merges)
    dictionary = _dictionary(os.path.join(work, "utterances"), map(encode, training), settings)
    for path, languages in PAIRS.items():
        for split in splits:
            _write_pairs(work, split, found[split], languages, encode)
            unknown = _binarise(work, os.path.join(folder, path), split, languages, dictionary, settings.workers)
            if REPLY in unknown:
                counts[split].reply_words, counts[split].unknown_words = unknown[REPLY]
    for split in splits:
        _write_dialogues(work, split, spoken[split], encode)
        name = f"{split}.{DIALOGUE}"
        _binarise_file(os.path.join(work, name), os.path.join(folder, name), dictionary, settings.workers)
    _save_dictionaries(dictionary, folder)
    shutil.rmtree(work)
    _write_report(os.path.join(folder, REPORT), splits, settings, counts, len(dictionary))
    return counts, len(dictionary)


def _read(paths: Sequence[str], settings: Settings, counts: Counts) -> Tuple[List[Example], List[List[str]], List[str]]:
    """Examples of the files, the utterances of each dialogue of two or more, and every utterance once."""
    kept: List[Example] = []
    dialogues: List[List[str]] = []
    utterances: List[str] = []
    for path in paths:
        for dialogue in read_dialogues(path, settings.form):
            turns = tuple(tokenize(turn, settings.lowercase) for turn in dialogue.turns)
            about = dialogue.persona if settings.persona else ()
            persona = tuple(tokenize(sentence, settings.lowercase) for sentence in about)
            dialogue = Dialogue(turns, dialogue.replies, persona)
            spoken = [turn for turn in turns if turn]
            counts.dialogues += 1
            counts.utterances += len(spoken)
            utterances += [*dialogue.persona, *spoken]
            if len(spoken) > 1:
                dialogues.append(spoken)
            for example in examples(dialogue, settings.history):
                if not example.reply:
                    counts.empty_replies += 1
                elif not example.history:
                    counts.empty_histories += 1
                else:
                    kept.append(example)
    counts.examples = len(kept)
    return kept, dialogues, utterances


def _sides(example: Example, encode: Callable[[str], str]) -> Dict[str, str]:
    """The four lines of an example."""
    *earlier, last = map(encode, example.history)
    reply = encode(example.reply)
    return {HISTORY: joined([*earlier, last]), REPLY: reply, CONTEXT: joined([*earlier, reply]), LAST: last}


def _write_pairs(
    folder: str, split: str, found: List[Example], languages: Tuple[str, str], encode: Callable[[str], str]
) -> None:
    with contextlib.ExitStack() as stack:
        names = [os.path.join(folder, f"{split}.{language}") for language in languages]
        files = [stack.enter_context(open(name, "w", encoding="utf-8", newline="\n")) for name in names]
        for example in found:
            sides = _sides(example, encode)
            for file, language in zip(files, languages):
                file.write(sides[language] + "\n")


def _write_dialogues(folder: str, split: str, dialogues: List[List[str]], encode: Callable[[str], str]) -> None:
    with open(os.path.join(folder, f"{split}.{DIALOGUE}"), "w", encoding="utf-8", newline="\n") as file:
        file.writelines(joined([encode(utterance) for utterance in spoken]) + "\n" for spoken in dialogues)


# ---------------------------------------------------------------------- words to numbers


def _learn_subwords(path: str, utterances: List[str], merges: int) -> Callable[[str], str]:
    """subword-nmt's codes, learnt on *utterances*.

    The separator's own merges stand first, so that whatever reads the codes leaves it whole. They join
    nothing else: no word holds a punctuation mark beside a letter.
    """
    with open(path, "w+", encoding="utf-8", newline="\n") as codes:
        try:
            with open(os.devnull, "w") as quiet, contextlib.redirect_stderr(quiet):  # its progress bar
                learn_bpe(utterances, codes, merges)
        except ValueError as error:
            raise AMIError("--bpe-merges: no word of --train has two letters") from error
        codes.seek(0)
        version, *learnt = codes.read().splitlines()
        letters = [*SEPARATOR[:-1], SEPARATOR[-1] + "</w>"]
        own = [f"{''.join(letters[:end])} {letters[end]}" for end in range(1, len(letters))]
        codes.seek(0)
        codes.write("\n".join([version, *own, *learnt]) + "\n")
        codes.seek(0)
        return BPE(codes).segment


def _dictionary(path: str, utterances: Iterable[str], settings: Settings) -> Dictionary:
    """fairseq's dictionary of the training dialogues, each utterance counted once, and the separator."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(utterance + "\n" for utterance in utterances)
    dictionary = Dictionary()
    Dictionary.add_file_to_dictionary(path, dictionary, tokenize_line, settings.workers)
    words = settings.vocab_size + dictionary.nspecial if settings.vocab_size else -1
    dictionary.finalize(threshold=settings.threshold, nwords=words, padding_factor=1)
    dictionary.add_symbol(SEPARATOR)
    dictionary.pad_to_multiple_(8)
    return dictionary


def _save_dictionaries(dictionary: Dictionary, folder: str) -> None:
    # the export of a backward network looks for its dictionaries in the folder of the training data
    for path, languages in [*PAIRS.items(), ("", PAIRS[BACKWARD])]:
        for language in languages:
            dictionary.save(os.path.join(folder, path, f"dict.{language}.txt"))


def _binarise(
    work: str, folder: str, split: str, languages: Tuple[str, str], dictionary: Dictionary, workers: int
) -> Dict[str, Tuple[int, int]]:
    """As fairseq-preprocess does; words (without end symbols) and unknown ones of each language."""
    found = {}
    for language in languages:
        prefix = os.path.join(folder, f"{split}.{'-'.join(languages)}.{language}")
        summary = _binarise_file(os.path.join(work, f"{split}.{language}"), prefix, dictionary, workers)
        found[language] = summary.num_tok - summary.num_seq, summary.num_replaced
    return found


def _binarise_file(text: str, prefix: str, dictionary: Dictionary, workers: int) -> BinarizeSummary:
    """Binarise a file to ``PREFIX.bin`` and ``PREFIX.idx``."""
    return FileBinarizer.multiprocess_dataset(
        text, "mmap", VocabularyDatasetBinarizer(dictionary), prefix, vocab_size=len(dictionary), num_workers=workers
    )


def _write_report(
    path: str, splits: Dict[str, Sequence[str]], settings: Settings, counts: Dict[str, Counts], symbols: int
) -> None:
    names = {split: [os.path.basename(name) for name in paths] for split, paths in splits.items()}
    tables = {split: asdict(each) for split, each in counts.items()}
    report = {"settings": asdict(settings), "files": names, "dictionary": symbols, "counts": tables}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(report, file, indent=2)
        file.write("\n")


def table(counts: Dict[str, Counts]) -> List[List[str]]:
    """Header and one row a split."""
    names = [field.name for field in fields(Counts)]
    return [["", *names], *([split, *(str(getattr(each, name)) for name in names)] for split, each in counts.items())]
