"""Phrases cut from captions ("red head and breast"), so that a model trained on sentences also takes bare phrases.

Rules over the words of one caption; they need no tagger and rather miss a phrase than make a wrong one.
"""

from __future__ import annotations

from tgim.text.lexicon import each_of
from tgim.text.lexicon.colours import CAPTION_COLOURS, CAPTION_SHADES
from tgim.text.lexicon.parts import CAPTION_PARTS, CAPTION_SUBJECTS, PHRASES_OF_FLOWERS, PLURAL
from tgim.text.vocabulary import tokenize

STOPS = frozenset(
    each_of(
        """a an the and or with of on in at is are has have its it this that these those to by from as but while which
        where also around near over under between for be been was were there his her their along some"""
    )
)
FRAMES = "this is a an these are bird flower has"  # the words that `sentence` puts around a phrase
_JOINT = {"and"}


def phrases(caption: str) -> tuple[str, ...]:
    """List the colour phrases of a caption in the order of its words, without repeats.

    >>> phrases("this bird has a red head and breast with a short black beak")
    ('red head and breast', 'black beak')
    >>> phrases("the petals are bright yellow, the stem is green")
    ('bright yellow petals', 'green stem')
    >>> phrases("this flower has petals that are pink and white")
    ('pink and white petals',)
    """
    words = tokenize(caption)
    found: dict[str, None] = {}
    i = 0
    while i < len(words):
        if words[i] not in CAPTION_COLOURS:
            i += 1
            continue
        start, end = _colour_group(words, i)
        last = _noun(words, end)
        if last:
            found[" ".join(words[start:last])] = None
        elif told := _told_of(words, start):
            found[" ".join((*words[start:end], told))] = None
        i = max(last, end)
    return tuple(found)


def sentence(phrase: str, *, subject: str = "bird") -> str:
    """Write a phrase as a whole caption.

    >>> sentence("red head and breast"), sentence("yellow petals", subject="flower"), sentence("small blue bird")
    ('this bird has a red head and breast', 'this flower has yellow petals', 'this is a small blue bird')
    """
    words = phrase.split()
    head = next((word for word in words if word in CAPTION_PARTS), words[-1])
    many = head in PLURAL or (head.endswith("s") and not head.endswith(("ss", "us")))
    article = "" if many else "an " if words[0][0] in "aeiou" else "a "
    if head in CAPTION_SUBJECTS:
        return f"{'these are' if many else 'this is'} {article}{phrase}"
    return f"this {subject} has {article}{phrase}"


def variants(caption: str) -> list[str]:
    """List texts to train with in place of a caption: each of its phrases, bare and as a sentence."""
    flower = PHRASES_OF_FLOWERS & set(tokenize(caption))
    cut = phrases(caption)
    return [*cut, *(sentence(phrase, subject="flower" if flower else "bird") for phrase in cut)]


def _colour_group(words: list[str], i: int) -> tuple[int, int]:
    """Start (with shades before) and end of the run of colours around `words[i]`: "bright red and black"."""
    start, end = i, i + 1
    while start and words[start - 1] in CAPTION_SHADES:
        start -= 1
    while end < len(words):
        if words[end] in CAPTION_COLOURS:
            end += 1
        elif words[end] in _JOINT and end + 1 < len(words) and words[end + 1] in CAPTION_COLOURS:
            after = _run(words, end + 1)
            if _noun(words, end) or (
                not _noun(words, after) and end + 2 < len(words) and words[end + 2] in CAPTION_PARTS
            ):
                break
            end += 2
        else:
            break
    return start, end


def _told_of(words: list[str], i: int) -> str:
    """The part that a colour at `i` is said of: "petals are", "petals that are"; empty if none."""
    before = words[:i]
    if before and before[-1] in ("is", "are"):
        before.pop()
        if before and before[-1] in ("that", "which"):
            before.pop()
        return before[-1] if before and before[-1] in CAPTION_PARTS else ""
    return ""


def _run(words: list[str], i: int) -> int:
    """End of the run of colours that begins at `i`."""
    while i < len(words) and words[i] in CAPTION_COLOURS:
        i += 1
    return i


def _noun(words: list[str], i: int) -> int:
    """End of the part (with up to two plain words before it, and parts joined to it) that begins at `i`; 0 if none."""
    skipped = 0
    while i < len(words) and words[i] not in CAPTION_PARTS:
        if words[i] in STOPS or words[i] in CAPTION_COLOURS or skipped == 2:
            return 0
        i, skipped = i + 1, skipped + 1
    if i >= len(words):
        return 0
    while i < len(words) and words[i] in CAPTION_PARTS:
        i += 1
        if i + 1 < len(words) and words[i] in _JOINT and words[i + 1] in CAPTION_PARTS:
            i += 1
    return i
