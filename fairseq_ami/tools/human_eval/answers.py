"""Reading the key and what the judges sent back."""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence, Tuple

from fairseq_ami.errors import AMIError
from fairseq_ami.tools.human_eval.sheet import ANSWERS, Pair

COLUMNS = ("study", "item", "answer")  # needed in every file; `judge` may be missing
SPELLINGS = {**{word: word for word in ANSWERS}, **{str(key): word for key, word in enumerate(ANSWERS, 1)}}


@dataclass(frozen=True)
class KeyItem:
    set: int
    pair: Pair
    left: str
    identical: bool


@dataclass(frozen=True)
class Key:
    study: str
    count: int  # histories drawn: items of every pair before identical ones were dropped
    pairs: List[Pair]
    items: Dict[int, KeyItem]


@dataclass(frozen=True)
class Row:
    """One line of a judge's file; an empty answer was left out."""

    judge: str
    item: int
    answer: str
    where: str  # file and line, for messages


def read_key(path: str) -> Key:
    """The key that `human-eval prepare` wrote.

    Raises:
        AMIError: unreadable, or no such key.
    """
    try:
        content = json.loads(_text(path))
        items = {}
        for entry in content["items"]:
            first, second = entry["pair"]
            if {entry["left"], entry["right"]} != {first, second}:
                raise ValueError(f"item {entry['item']} shows other systems than its pair")
            items[entry["item"]] = KeyItem(entry["set"], (first, second), entry["left"], entry["identical"])
        pairs = [(first, second) for first, second in content["pairs"]]
        if {*pairs} != {item.pair for item in items.values()}:
            raise ValueError("its pairs are not those of its items")
        return Key(content["study"], content["count"], pairs, items)
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, AMIError):
            raise
        raise AMIError(f"{path} is not a key that `human-eval prepare` wrote: {error!r}") from error


def read_answers(paths: Sequence[str], key: Key) -> List[Row]:
    """Answers of all judges. A judge's name is the one in the file, or the file's own.

    Raises:
        AMIError: (file and line) unreadable, no such columns, another study's, an unknown item or answer, two names in
            one file, or the same item twice from one judge.
    """
    rows: List[Row] = []
    places: Dict[Tuple[str, int], str] = {}
    for path in paths:
        for row in _read_file(path, key):
            earlier = places.setdefault((row.judge, row.item), row.where)
            if earlier is not row.where:
                raise AMIError(
                    f"{row.where}: {row.judge} has judged item {row.item} already ({earlier}): leave one out, or give "
                    "judges of the same name different ones"
                )
            rows.append(row)
    return rows


def _read_file(path: str, key: Key) -> List[Row]:
    entries = list(_records(path))
    if not entries:
        raise AMIError(f"{path} has no answers")
    judge = ""
    for where, entry in entries:
        name = entry.get("judge", "").strip()
        if name and judge and name != judge:
            raise AMIError(f"{where}: the judge is {name!r}, above it is {judge!r}: one file a judge")
        judge = judge or name
    judge = judge or Path(path).stem
    return [_row(judge, where, entry, key) for where, entry in entries]


def _row(judge: str, where: str, entry: Dict[str, str], key: Key) -> Row:
    if entry["study"].strip() != key.study:
        raise AMIError(f"{where}: this belongs to the study {entry['study']!r}, the key to {key.study!r}")
    text = entry["item"].strip()
    if not text.isdecimal() or int(text) not in key.items:
        raise AMIError(f"{where}: there is no item {text!r} in the key")
    answer = entry["answer"].strip().lower()
    if answer and answer not in SPELLINGS:
        raise AMIError(f"{where}: unknown answer {answer!r}: left, right, tie (or 1, 2, 3), or nothing if left out")
    return Row(judge, int(text), SPELLINGS.get(answer, ""), where)


def _records(path: str) -> Iterator[Tuple[str, Dict[str, str]]]:
    """(place, column -> text) of each line of a CSV file, or of each object of a JSON list."""
    text = _text(path)
    if text.lstrip().startswith("["):
        yield from _json_records(path, text)
        return
    header, rows = text.partition("\n")[0], io.StringIO(text, newline="")
    reader = csv.reader(rows, delimiter=max(",;\t", key=header.count), strict=True)  # spreadsheets differ by country
    try:
        columns = [cell.strip().lower() for cell in next(reader, [])]
        _check_columns(f"{path}, line 1", columns)
        line = reader.line_num + 1
        for cells in reader:
            if any(map(str.strip, cells)):
                cells += [""] * (len(columns) - len(cells))
                yield f"{path}, line {line}", dict(zip(columns, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise AMIError(f"{path}, line {reader.line_num} is not CSV: {error}") from error


def _json_records(path: str, text: str) -> Iterator[Tuple[str, Dict[str, str]]]:
    try:
        entries: List[Any] = json.loads(text)
    except ValueError as error:
        raise AMIError(f"{path} is not JSON: {error}") from error
    for number, entry in enumerate(entries, 1):
        where = f"{path}, entry {number}"
        _check_columns(where, list(entry) if isinstance(entry, dict) else [])
        yield where, {name: str(value) for name, value in entry.items()}


def _check_columns(where: str, columns: Sequence[str]) -> None:
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise AMIError(f"{where}: no column {', '.join(missing)}: pass a filled sheet, or what a page downloaded")


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return file.read()
    except OSError as error:
        raise AMIError(f"{path} cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise AMIError(f"{path} is not UTF-8: save it as CSV UTF-8 ({error})") from error
