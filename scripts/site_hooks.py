"""Hooks of MkDocs: pages outside of docs/ join the site, and links between all of them work there as on GitHub."""

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any, Dict, List, Optional

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "benchmarks/README.md",
    "examples/*/*.md",
    "examples/*/tables/*.md",
)
CODE = re.compile(r"`[^`]*`")
LINK = re.compile(r"(\]\()([^)\s]+)(\))")


def slug(text: str, separator: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", separator)


def in_site(path: str) -> str:
    """Where a file of the repository stands in the site's sources: ``docs/faq.md`` is ``faq.md``."""
    return "index.md" if path == "README.md" else path.removeprefix("docs/")


def in_repository(path: str) -> str:
    """The inverse of :func:`in_site`."""
    if path == "index.md":
        return "README.md"
    return path if (ROOT / path).exists() else f"docs/{path}"


def target(link: str, page: str) -> Optional[str]:
    """The file of the repository that a relative link of a page leads to; None for addresses and anchors."""
    file = link.partition("#")[0]
    if not file or re.match(r"[a-z]+:", file):
        return None
    path = normpath(str(PurePosixPath(page).parent / file))
    return f"{path}/README.md" if (ROOT / path).is_dir() else path


def outside(link: str, page: str) -> Optional[str]:
    """The same, where the file does not stand in docs/."""
    path = target(link, page)
    return path if path and not path.startswith("docs/") else None


def rewritten(text: str, page: str) -> str:
    """A page's text with the links of the site, and with bars in the code of tables as Python-Markdown wants them."""

    def one(match: re.Match) -> str:
        path = target(match[2], page)
        if path is None:
            return match[0]
        _, mark, anchor = match[2].partition("#")
        place = relpath(in_site(path), str(PurePosixPath(in_site(page)).parent))
        return f"{match[1]}{place}{mark}{anchor}{match[3]}"

    def bars(row: re.Match) -> str:
        return CODE.sub(lambda code: code[0].replace("\\|", "|"), row[0])

    text = re.sub(r"^\|.*", bars, text, flags=re.MULTILINE)
    parts = re.split(r"(^```.*?^```)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else LINK.sub(one, part) for part in parts)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages outside of docs/, and whatever any page links there: pictures, settings, scripts."""
    pages = [str(path.relative_to(ROOT)) for pattern in PAGES for path in sorted(ROOT.glob(pattern))]
    linked: Dict[str, None] = dict.fromkeys(pages)
    for page in [*pages, *(in_repository(file.src_uri) for file in files.documentation_pages())]:
        links: List[str] = [match[2] for match in LINK.finditer((ROOT / page).read_text(encoding="utf-8"))]
        linked.update(dict.fromkeys(path for link in links if (path := outside(link, page))))
    for path in linked:
        if (ROOT / path).is_file():
            files.append(File.generated(config, in_site(path), abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    return rewritten(markdown, in_repository(page.file.src_uri))
