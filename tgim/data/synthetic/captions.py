"""Captions of synthetic pictures, in the manner of CUB and Oxford-102, and a parser from captions to part colours.

A caption made here is always true of its picture, and `read_caption` recovers every colour that it states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tgim.data.synthetic.scenes import MODIFIERS, Rng, Scene, palette, pick_colour, split_colour
from tgim.text.lexicon.synthetic import COLOURS, FEATHERED, HEAD, INNER, PLURAL, SYNONYMS, WHOLE, WORDS
from tgim.text.vocabulary import tokenize

_BIRD_GROUPS = {
    "head": 10, "wings": 12, "breast": 8, "chest": 4, "belly": 10, "back": 5, "tail": 6, "crown": 7, "throat": 5,
    "nape": 2, "cheeks": 2, "beak": 5, "bill": 4, "feet": 2, "eyes": 1, "wingbars": 2, "abdomen": 1,
}  # fmt: skip
_FLOWER_GROUPS = {"petals": 20, "center": 9, "stamen": 5, "edges": 3, "tips": 1, "middle": 2, "anthers": 2}
_GROUPS = {"bird": _BIRD_GROUPS, "flower": _FLOWER_GROUPS}
Mention = tuple[str, str]  # (word of a part, colour)


def read_caption(caption: str, kind: str) -> dict[str, str]:
    """Parse the part colours of a caption: adjectives before a part, or ``part is/are colour``; finer words win.

    >>> read_caption("a yellow bird with black wings", "bird")["wings"]
    'black'
    >>> read_caption("the petals of this flower are pink with a yellow center", "flower")
    {'petals': 'pink', 'center': 'yellow'}
    """
    names = WORDS[kind]
    stated: list[Mention] = []
    waiting: list[str] = []  # parts before a verb: "its wings and tail are ..."
    colour = modifier = last = ""
    verb = False
    for spelled in tokenize(caption):
        word = SYNONYMS.get(spelled, spelled)
        if word in MODIFIERS:
            modifier = word
        elif word in COLOURS:
            colour, modifier = f"{modifier} {word}".strip(), ""
            if verb:
                stated += [(part, colour) for part in waiting]
                colour, waiting, verb = "", [], False
        elif word in names:
            if last == "of":  # "the head of this bird"
                last = ""
            elif colour:
                stated.append((word, colour))
            else:
                waiting = [word] if word in WHOLE[kind] else [*waiting, word]
        elif word in ("is", "are"):
            verb, colour = bool(waiting), ""
        elif word in ("with", "has", "its", "that", "a", "an", "the", "this", "of"):
            colour, modifier = "", ""
            last = "of" if word == "of" else last
            if word in ("with", "has") or (verb and word in ("a", "an")):
                waiting, verb = [], False
    found: dict[str, str] = {}
    for word, colour in sorted(stated, key=lambda item: -len(names[item[0]])):
        whole = word in WHOLE[kind]
        found |= {part: "" if part == "wingbars" and whole else colour for part in names[word]}
        if kind == "flower" and whole:
            found = {"edges": ""} | found
    return found


def apply_caption(scene: Scene, caption: str) -> Scene:
    """Make a caption true of a scene: stated colours are painted, all else stays.

    A plain word is already true of its modified shades ("blue" of a dark blue part), which therefore stay. Sizes and
    shapes that a caption names never change the picture.
    """
    change = read_caption(caption, scene.kind)
    return scene.repaint({part: new for part, new in change.items() if not _true_of(new, scene.colour(part))})


def _true_of(stated: str, colour: str) -> bool:
    return stated == colour or (bool(stated) and bool(colour) and split_colour(colour)[1] == stated)


def caption_of(scene: Scene, rng: Rng) -> str:
    """Sample a caption or bare phrase that is true of the scene."""
    mentions = _true_mentions(scene, rng, int(rng.choice([1, 2, 3], p=[0.3, 0.45, 0.25])))
    whole = _true_whole(scene, rng)
    if whole is not None and (rng.random() < 0.75 or not mentions):
        base, exceptions = whole
        return _write(scene, rng, base, exceptions)
    return _write(scene, rng, "", mentions)


def edit_scene(scene: Scene, rng: Rng) -> tuple[str, Scene]:
    """Sample a target caption and the scene that it makes; about one in eight changes nothing."""
    if rng.random() < 0.12:
        caption = caption_of(scene, rng)
        return caption, apply_caption(scene, caption)
    style = rng.random()
    whole = ""
    flat = 0.5
    if scene.kind == "flower":
        words = ["petals"] if style < 0.75 else []
        words += _choose(_GROUPS["flower"], rng, int(rng.integers(0, 3)) or (not words), taken=words)
        if style < 0.3:
            whole, words = pick_colour("petals", rng, flat=flat), [word for word in words if word != "petals"]
    else:
        if style < 0.45:
            whole = pick_colour("back", rng, flat=flat)
        count = 0 if style < 0.2 else int(rng.choice([1, 2, 3], p=[0.4, 0.4, 0.2]))
        words = _choose(_GROUPS["bird"], rng, count)
    mentions = [(word, pick_colour(WORDS[scene.kind][word][0], rng, flat=flat)) for word in words]
    if len(mentions) > 1 and rng.random() < 0.25:  # "red head and breast": neighbours share a colour
        mentions[1] = (mentions[1][0], mentions[0][1])
    if not whole and mentions and rng.random() < 0.2:  # an edit that also names something that stays
        taken = {part for word, _ in mentions for part in WORDS[scene.kind][word]}
        kept = _true_mentions(scene, rng, 1)
        mentions += [item for item in kept if not taken & set(WORDS[scene.kind][item[0]])]
    caption = _write(scene, rng, whole, mentions)
    return caption, apply_caption(scene, caption)


def swap_scene(scene: Scene, rng: Rng, words: Sequence[str]) -> tuple[tuple[str, Scene], tuple[str, Scene]] | None:
    """Sample two targets with colours swapped ("red head and white belly", "white head and red belly").

    Each is a caption and the scene that it makes. The captions have one wording and name two of `words`, which share
    no part; None when fewer than two can be chosen.
    """
    weights = {word: weight for word, weight in _GROUPS[scene.kind].items() if word in words}
    chosen = _choose(weights, rng, 2) if weights else []
    if len(chosen) < 2:
        return None
    shared = sorted(set.intersection(*(set(palette(WORDS[scene.kind][word][0])) for word in chosen)))
    one, other = (shared[i] for i in rng.choice(len(shared), size=2, replace=False))
    start = _one(rng, f"this {scene.kind} has ", f"a {scene.kind} with ", "")
    targets = []
    for colours in ((one, other), (other, one)):
        named = [f"{colour} {word}" for colour, word in zip(colours, chosen, strict=True)]
        if start:
            named = [text if word in PLURAL else _article(text) for text, word in zip(named, chosen, strict=True)]
        caption = start + " and ".join(named)
        targets.append((caption, apply_caption(scene, caption)))
    return targets[0], targets[1]


def _choose(weights: Mapping[str, int], rng: Rng, count: int, taken: Sequence[str] = ()) -> list[str]:
    """Sample `count` words whose parts do not overlap."""
    kind = "bird" if weights.keys() <= _BIRD_GROUPS.keys() else "flower"
    words = list(weights)
    chosen: list[str] = []
    used = {part for word in taken for part in WORDS[kind][word]}
    total = sum(weights.values())
    for i in rng.choice(len(words), size=len(words), replace=False, p=[weights[word] / total for word in words]):
        parts = set(WORDS[kind][words[i]])
        if len(chosen) < count and not parts & used:
            chosen.append(words[i])
            used |= parts
    return chosen


def _true_mentions(scene: Scene, rng: Rng, count: int) -> list[Mention]:
    found: list[Mention] = []
    for word in _choose(_GROUPS[scene.kind], rng, 6):
        colours = {scene.colour(part) for part in WORDS[scene.kind][word]}
        if len(colours) == 1 and "" not in colours and len(found) < count:
            found.append((word, _loosely(colours.pop(), rng)))
    return found


def _true_whole(scene: Scene, rng: Rng) -> tuple[str, list[Mention]] | None:
    """Find the main colour and its exceptions; None where there are more than three."""
    if scene.kind == "flower":
        rest = [("edges", scene.colour("edges"))] if scene.colour("edges") else []
        rest += [item for item in _true_mentions(scene, rng, 2) if item[0] in INNER]
        return _loosely(scene.colour("petals"), rng), rest
    paint = {part: scene.colour(part) for part in FEATHERED}
    main = max(sorted(set(paint.values())), key=list(paint.values()).count)
    odd = [part for part, colour in paint.items() if colour != main]
    exceptions: list[Mention] = []
    if set(HEAD) <= set(odd) and len({paint[part] for part in HEAD}) == 1:
        exceptions.append(("head", paint["crown"]))
        odd = [part for part in odd if part not in HEAD]
    exceptions += [("cheeks" if part == "face" else part, paint[part]) for part in odd]
    if scene.colour("wingbars"):
        exceptions.append(("wingbars", scene.colour("wingbars")))
    if len(exceptions) > 3:
        return None
    return main, exceptions


def _loosely(colour: str, rng: Rng) -> str:
    return split_colour(colour)[1] if rng.random() < 0.3 else colour


def _phrase(word: str, colour: str, scene: Scene, rng: Rng, *, article: bool = True) -> str:
    shape = ""
    if word in ("beak", "bill") and rng.random() < 0.5:
        shape = scene.shape + (" pointed " if rng.random() < 0.3 else " ")
    if word == "petals" and rng.random() < 0.3:
        shape = scene.shape + " "
    text = f"{shape}{_spell(colour, rng)} {word}"
    return text if word in PLURAL or not article else _article(text)


def _article(text: str) -> str:
    return ("an " if text[0] in "aeiou" else "a ") + text


def _spell(colour: str, rng: Rng) -> str:
    for other, word in (("grey", "gray"), ("violet", "purple")):
        if colour.endswith(word) and rng.random() < 0.4:
            return colour.replace(word, other)
    return colour


def _join(mentions: Sequence[Mention], scene: Scene, rng: Rng, *, article: bool = True) -> str:
    """Join mentions, ``a red head and breast with black wings``: neighbours of one colour share the adjective."""
    groups: list[list[Mention]] = []
    for item in mentions:
        if groups and groups[-1][0][1] == item[1] and item[0] not in ("beak", "bill"):
            groups[-1].append(item)
        else:
            groups.append([item])
    texts = []
    for group in groups:
        text = _phrase(*group[0], scene, rng, article=article)
        texts.append(" and ".join([text, *(word for word, _ in group[1:])]))
    joint = " with " if len(texts) == 2 and rng.random() < 0.3 else " and "
    if len(texts) == 3 and rng.random() < 0.5:
        return f"{texts[0]} {texts[1]}{joint}{texts[2]}"
    return joint.join(texts)


def _write(scene: Scene, rng: Rng, whole: str, mentions: Sequence[Mention]) -> str:
    return (_write_bird if scene.kind == "bird" else _write_flower)(scene, rng, whole, list(mentions))


def _one(rng: Rng, *texts: str) -> str:
    return texts[rng.integers(len(texts))]


def _write_bird(scene: Scene, rng: Rng, whole: str, mentions: list[Mention]) -> str:
    size = f"{scene.size} " if rng.random() < 0.35 else ""
    beak = f"a {scene.shape} {_one(rng, 'beak', 'bill', 'pointed beak')}"
    colour = _spell(whole, rng)
    if whole and not mentions:
        body = _one(rng, "body", "body", "plumage")
        text = _one(
            rng, f"this bird is completely {colour}", f"this bird is {colour} all over", f"this {size}bird is {colour}",
            f"{_article(f'{size}{colour} bird')}", f"this is {_article(f'{size}{colour} bird')}",
            f"this bird has {_article(f'{colour} {body}')}", f"{colour} {body}",
            f"a {size}bird that is entirely {colour}",
            f"{colour} bird", f"the {size}bird is all {colour}", f"this bird has {colour} feathers",
        )  # fmt: skip
        return f"{text} with {beak}" if rng.random() < 0.15 else text
    parts = _join(mentions, scene, rng)
    if whole:
        return _one(
            rng, f"this bird is {colour} with {parts}", f"{_article(f'{size}{colour} bird')} with {parts}",
            f"this {size}{colour} bird has {parts}", f"{colour} bird with {parts}",
            f"this is {_article(f'{size}{colour} bird')} with {parts}", f"the bird is {colour} and it has {parts}",
            f"this bird has {_article(f'{colour} body')} with {parts}", f"{colour} body with {parts}",
        )  # fmt: skip
    first, rest = mentions[0], mentions[1:]
    verb = "are" if first[0] in PLURAL else "is"
    tail = f" with {_join(rest, scene, rng)}" if rest else ""
    return _one(
        rng, f"this bird has {parts}", f"this {size}bird has {parts}", f"a {size}bird with {parts}",
        f"the bird has {parts}", _join(mentions, scene, rng, article=False), _join(mentions, scene, rng, article=False),
        f"this {size}bird has {parts}", f"this is a {size}bird with {parts}",
        f"the {first[0]} of this bird {verb} {_spell(first[1], rng)}{tail}",
    )  # fmt: skip


def _write_flower(scene: Scene, rng: Rng, whole: str, mentions: list[Mention]) -> str:
    size = f"{scene.size} " if rng.random() < 0.25 else ""
    colour = _spell(whole, rng)
    tail = f" with {_join(mentions, scene, rng)}" if mentions else ""
    if whole:
        return _one(
            rng, f"this flower is {colour}{tail}", f"{_article(f'{size}{colour} flower')}{tail}",
            f"this is {_article(f'{size}{colour} flower')}{tail}", f"{colour} flower{tail}",
            f"the {size}flower is {colour} in color{tail}", f"this {colour} flower has {scene.shape} petals{tail}",
        )  # fmt: skip
    parts = _join(mentions, scene, rng)
    if mentions and mentions[0][0] == "petals":
        rest = f" with {_join(mentions[1:], scene, rng)}" if mentions[1:] else ""
        petals = _spell(mentions[0][1], rng)
        return _one(
            rng, f"the petals of this flower are {petals}{rest}", f"this flower has petals that are {petals}{rest}",
            f"this flower has {scene.shape} {petals} petals{rest}", f"a {size}flower with {parts}",
            f"the petals are {petals}{rest}", f"this flower has {parts}", f"{petals} petals{rest}",
        )  # fmt: skip
    return _one(rng, f"this flower has {parts}", f"a {size}flower with {parts}", parts, f"the flower has {parts}")
