"""Checks the project's English: words of a list anywhere, and sentences of more than 40 words in Markdown.

    python .ci/prose.py [PATH…]        # by default everything below the repository

It reads Markdown, the docstrings, comments and messages of Python files (of tests no messages), and the comments and
texts of the pages (JavaScript, CSS, HTML). Code and names in code font are exempt; so are tables from the length of
sentences.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 40
FOLDERS = ("docs", "src", "examples", "benchmarks", "tests", "experiments", ".ci")
TEXTS = {".js": "code", ".css": "code", ".html": "page", ".j2": "page"}

# What not to say, as a regular expression, and what to say in its place.
WORDS = {
    r"strange(?:r|st|ness|ly)?|strangers?": "unknown, anomalous; anomaly score",
    r"foreign(?:er)?": "unknown; outside, of another program",
    r"lessons?": "exemplar, preview, teaching",
    r"vouch\w*|witness\w*": "reference set, pseudo-known regions",
    r"thief|thefts?|steals?|stealing|stole|stolen": "conflict; claims, takes from",
    r"surpris\w+": "anomaly, anomaly score",
    r"pieces?": "region, object, component, part",
    r"told": "broadcast, notified; given",
    r"desk": "session",
    r"bears|bear (?:a|an|the|its|their)": "has, is assigned, belongs to",
    r"(?:is|are|was|were) to meet": "must, will contain",
    r"not at all|there whole": "atomically; complete or absent",
    r"no two of (?:them|which) meet": "collision-safe",
    r"(?:our|whose|the) output has left|not untouched|under another sun": "say it plainly",
    r"rivals?": "baseline, reference, other tool",
    r"anew": "again, from scratch",
    r"foretells?|foretold": "predicts",
    r"mends?|mended|mending": "corrects, repairs",
    r"ought|lest|whence|hence|thereof|wherein|thereby|hitherto|henceforth|shall|ere|naught|nought": "plain English",
    r"for want of|in vain|as ever|ever after|at hand|gone astray|of old": "plain English",
}
SAY = {re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE): say for pattern, say in WORDS.items()}

_CODE_FONT = re.compile(r"``.+?``|`[^`\n]+`", re.DOTALL)
_FENCE = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_END = re.compile(r"(?<!Eq\.)(?<!al\.)(?<=[.!?])[\"”)*]*\s+(?=[A-Z0-9\"“*(_])")
_ITEM = re.compile(r"^\s*(?:[-*+]|\d+\.)\s+")
_QUOTED = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`")
_COMMENT = re.compile(r"/\*.*?\*/|^\s*//[^\n]*|\s//\s[^\n]*", re.MULTILINE | re.DOTALL)

Part = tuple[int, str]  # number of the first line, text


def blank(pattern: re.Pattern[str], text: str) -> str:
    """The text with every match emptied, its line breaks kept."""
    return pattern.sub(lambda match: "\n" * match[0].count("\n"), text)


def python_parts(text: str, messages: bool) -> Iterator[Part]:
    """Comments, docstrings and, on request, other strings of more than one word."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    lines, tree = text.splitlines(), ast.parse(text)
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if not messages and id(node) not in documents:
            continue
        value = node.value if isinstance(node, ast.Constant) else None
        if isinstance(value, str) and " " in value.strip() and not lines[node.lineno - 1].endswith("# a stored name"):
            yield node.lineno, value


def code_parts(text: str) -> Iterator[Part]:
    """Comments, and strings of more than one word, of JavaScript or CSS."""
    for pattern in (_COMMENT, _QUOTED):
        for match in pattern.finditer(text):
            if " " in match[0].strip():
                yield text.count("\n", 0, match.start()) + 1, re.sub(r"\$\{.*?\}", "", match[0].strip("`"))


def parts(path: Path, text: str) -> list[Part]:
    """What people read of a file."""
    if path.suffix == ".py":
        return list(python_parts(text, messages="tests" not in path.parts))
    if TEXTS.get(path.suffix) == "code":
        return list(code_parts(text))
    if TEXTS.get(path.suffix) == "page":
        return [(1, blank(re.compile(r"<script.*?</script>|<style.*?</style>|\{[{%].*?[}%]\}|<[^>]+>", re.S), text))]
    return [(1, blank(_FENCE, text))]


def bad_words(path: Path, text: str) -> Iterator[str]:
    """One line for each word of the list."""
    for line, part in parts(path, text):
        plain = blank(_CODE_FONT, part)
        for pattern, say in SAY.items():
            for match in pattern.finditer(plain):
                yield f"{path}:{line + plain.count(chr(10), 0, match.start())}: “{match[0]}”: {say}"


def blocks(text: str) -> Iterator[Part]:
    """Paragraphs and list items of Markdown; no code, tables or headings."""
    start, lines = 0, []
    for number, line in enumerate([*blank(_FENCE, text).splitlines(), ""], 1):
        outside = not line.strip() or line.startswith(("|", "#", "    ", "<", "---"))
        if (outside or _ITEM.match(line)) and lines:
            yield start, " ".join(lines)
            lines = []
        if not outside:
            start = start if lines else number
            lines.append(_ITEM.sub("", line).strip())


def sentences(text: str) -> Iterator[Part]:
    """The sentences of Markdown, a name in code font counting as one word."""
    for line, block in blocks(text):
        plain = _LINK.sub(r"\1", _CODE_FONT.sub("Code", block))
        for sentence in _END.split(plain):
            yield line, sentence


def long_sentences(path: Path, text: str) -> Iterator[str]:
    """One line for each sentence that is too long."""
    for line, sentence in sentences(text):
        words = len(re.findall(r"\w[\w.,’'/-]*", sentence))
        if words > LONGEST:
            yield f"{path}:{line}: a sentence of {words} words: {sentence[:60]}…"


def files(where: list[str]) -> list[Path]:
    """The files to look at."""
    found = [Path(name) for name in where] or [*ROOT.glob("*.md"), *(ROOT / folder for folder in FOLDERS)]
    inside = (sorted(path.rglob("*")) if path.is_dir() else [path] for path in found)
    mine = Path(__file__).resolve()
    return [path for some in inside for path in some if path.suffix in {".md", ".py", *TEXTS} and path != mine]


def main(where: list[str]) -> int:
    """Prints what is found; 1 where there is something."""
    found: list[str] = []
    for path in files(where):
        text = path.read_text(encoding="utf-8")
        found += bad_words(path, text)
        if path.suffix == ".md":
            found += long_sentences(path, text)
    sys.stdout.write("".join(line.replace(f"{ROOT}/", "") + "\n" for line in found))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
