"""Instructions ("make its head red and the belly white") as captions ("this bird has a red head and a white belly").

A text is cut into clauses, a clause into runs of words between small words; a run is modifiers, a part, colours. Which
colour goes with which part is decided by their order: "a red head", "the head red", "the red wings black".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tgim.text.lexicon import BIRD, COLOUR_WORDS, FLOWER, MISSPELT, PART_WORDS, SHADE_WORDS, each_of

_VERBS = each_of(
    """make makes making change changing turn turning give giving paint painting color colour coloring colouring
    recolor recolour dye tint shade set let add put replace swap exchange switch transform convert edit adjust modify
    alter draw show apply fill have want render create generate use"""
)
_KEEP = each_of("keep leave preserve retain maintain")
_TAKE = each_of("remove delete erase hide drop lose")
_VERB = rf"(?:{'|'.join(_VERBS + _KEEP + _TAKE)}|get rid of|take away)"
_FIRST = rf"(?:{'|'.join(sorted({*_VERBS} - {'want', 'makes', 'shade'}) + _KEEP + _TAKE)}|get rid of|take away)"
_NEVER = r"(?:do not|never|without|not|avoid)"
_THANKS = "thank you(?: very much| so much)?|thanks(?: a lot)?|thx"
_POLITE = re.compile(rf"\b(?:please|pls|plz|kindly|{_THANKS}|if you can|if possible|for me)\b")
_HELLO = r"(?:(?:hey|hi|hello|ok|okay|so|just|now|well|and|then|maybe|also|first|finally|next) |[,!.] ?)"
_JUST = "(?:really |just |also )?"
_CAN_YOU = r"(?:can|could|would|will|may) (?:you|we|i)\b(?: (?:just|maybe|possibly|try to|help me(?: to)?|get|see))*"
_I_WANT = (
    rf"i (?:(?:would|will) {_JUST}(?:like|love|prefer)|(?:would |will )?{_JUST}(?:want|need|wish))\b"
    r"(?: you)?(?: to(?: see| get| have)?\b(?! be))?(?: for)?"
)
_HELP = r"let us(?: have)?|(?:show|give|get) me|help me(?: to)?|try to|(?:is it|would it be) possible to"
_ASKED = re.compile(rf"^{_HELLO}*(?P<asked>(?:(?:{_CAN_YOU}|{_I_WANT}|{_HELP}) ?)*)")
_MODAL = re.compile(
    r"\b(?:should|must|shall|ought to|(?:need|needs|has|have|had|got) to|to|can|could|may)"
    r"(?: (?:now|all|also|both))? (?P<verb>be|become|turn|look|get|have|has|show)\b"
)
_SHOULD = re.compile(
    r"\b(?:should|must|shall|ought to|(?:needs?|has|have) to) (?:(?:now|all|also|both) )?"
    r"(?:be|become|turn|look|get|have|show)\b"
)
_NEGATIONS = {"cannot": "can not", "can't": "can not", "won't": "will not", "dont": "do not", "doesnt": "does not"}
_NEGATIONS |= {"isnt": "is not", "arent": "are not", "shouldnt": "should not", "hasnt": "has not", "let's": "let us"}
_SHORT = {"'d": " would", "'ll": " will", "'m": " am", "'ve": " have", "'re": " are"}
_LINKS = set(each_of("to into be is are become becomes look looks appear as being get gets from by for than"))
_JOINTS = set(each_of("and or plus also"))
_BREAKS = set(each_of("with has have having but while whose"))
_PLACES = set(each_of("of on at around near under over above below along across in"))
_DEFINITE = set(each_of("the its his her their this that these those my your it's"))
_ENDS = (_LINKS | _JOINTS | _BREAKS | _PLACES | _DEFINITE | {"a", "an"}) - {"her", "him"}  # of a run of words
_WHOLE = set(each_of("it him them me everything all whole thing entire picture photo image something"))
_EMPTY = set(
    each_of(
        """all both whole entire every each some bit really colour color colours colors colored coloured coloration hue
        tone shade shades one ones just now too instead again then there out completely totally also so more very much
        of i you we which who please us"""
    )
)
_EXCEPT = "except|excluding|apart from|aside from|other than"
_SOME = rf"(?:(?:the|its|his|her) )?(?:{'|'.join(sorted(PART_WORDS, key=len, reverse=True))})"
_LEAVE = "models cannot be told what to leave alone, name what is to change"
NO_NEGATION = "models know no negation, name what is to be seen"
_NOUNS = PART_WORDS | BIRD | FLOWER | frozenset(("it", "him", "them", "everything"))
_SPARING = r"(?:touch|chang|alter|edit|modif|affect|recolou?r|repaint|lo[os])\w*"
_PROTECT = re.compile(
    rf"\b{_NEVER} (?:ever )?(?!lo[os]){_SPARING}\b"
    rf"|\b(?:and|but|,|;|\.) (?:{'|'.join(_KEEP)}) (?:the|its|it|his|her|everything|all)\b"
)
_DEED = rf"(?:{_VERB}|{_NEVER} (?:{_VERB}|{_SPARING}))"
_CUTS = re.compile(
    r"\s*[,;:.!?]+\s*(?:(?:and|but|then|also) )*"
    rf"|\s+(?:and|but|then|while|so)(?: then| also)? (?={_DEED}\b)"
    rf"|(?<!do)(?<!not)\s+(?={_NEVER} (?:{_SPARING}|(?:mak|turn|paint)\w*)\b)"
    rf"|\s+(?:but )?(?=(?:{_EXCEPT}|but not|and not|not the|instead of|rather than)\b)"
    r"|\s+but\s+"
)


def normal(text: str) -> str:
    """Lower-case words and punctuation, one blank between them, contractions written out.

    >>> normal("Don't, it's the bird's")
    "do not , it's the bird's"
    """
    words = re.findall(r"\w+(?:'\w+)*|[,;:.!?]", text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    spelt = (_NEGATIONS.get(word) or re.sub(r"n't$", " not", word) for word in words)
    return " ".join(re.sub(r"'(?:d|ll|m|ve|re)$", lambda end: _SHORT[end.group()], word) for word in spelt)


def is_instruction(text: str) -> bool:
    """Whether a text tells what to do ("make it red", "the head should be red") rather than what is to be seen."""
    words = normal(text)
    asked, rest = _asked(words)
    if asked or _SHOULD.search(words):
        return True
    told = re.match(rf"{_NEVER} (?:{_VERB}|touch|touching)\b", rest) or re.match(rf"{_FIRST}\b(?! ?[,.]?$)", rest)
    return bool(told or _PROTECT.search(words))


def _asked(words: str) -> tuple[bool, str]:
    """Whether politeness or a request stands around the words, and the words without it."""
    plain = re.sub(r"\s+", " ", _POLITE.sub(" ", words)).strip(" ,")
    found = _ASKED.match(plain)
    start = found.end() if found and found.group("asked") else 0
    rest = re.sub(rf"^{_HELLO}+", "", plain[start:])
    return start > 0 or plain != words.strip(" ,"), rest.strip(" ,.!?")


@dataclass
class Group:
    """A part or the subject, and what is said of it."""

    parts: list[str]  # "head", "breast"; empty while the noun is still to come
    before: list[str] = field(default_factory=list)  # modifiers that stand before the noun
    after: list[str] = field(default_factory=list)  # what is said after it
    definite: bool = False
    place: str = ""  # "on the head"

    @property
    def colours(self) -> list[str]:
        return self.after or self.before

    def whole(self, subject: str) -> bool:
        """Whether this is the subject itself rather than a part of it."""
        return bool(self.parts) and all(part in _WHOLE | BIRD | FLOWER | {subject} for part in self.parts)


def caption_of(text: str, subject: str, notes: list[str]) -> str:
    """The caption that an instruction asks for; empty when it asks for nothing that is to be seen.

    Args:
        text: an instruction.
        subject: "bird", "flower" or another noun; empty for a phrase without a subject.
        notes: gets a line for each clause that cannot be followed.
    """
    _, words = _asked(normal(text))
    words = " ".join(MISSPELT.get(word, (word,))[0] for word in words.split())
    groups: list[Group] = []
    for clause in _clauses(words, notes):
        if groups or not _is_plain(clause):
            _read(clause, groups)
        else:
            groups.append(Group([], [clause]))
    return _caption(groups, subject)


def _is_plain(clause: str) -> bool:
    """A caption or phrase: "a red bird with black wings" of "I want a red bird with black wings"."""
    told = re.search(rf"\b(?:{_VERB}|to|should|must)\b", clause)
    return bool(re.match(r"(?:this|an?|these|there)\b", clause) and not told and set(clause.split()) & (BIRD | FLOWER))


def _clauses(words: str, notes: list[str]) -> list[str]:
    """Clauses to follow; those that say what to leave alone, or what not to do, become notes."""
    spared = re.compile(rf"\b(everything|anything|all) ((?:but|{_EXCEPT})(?: for)? {_SOME}(?: (?:and|or) {_SOME})*)\b")
    notes += [f"{found.group(2)!r} is left out: {_LEAVE}" for found in spared.finditer(words)]
    followed: list[str] = []
    reason = ""
    for clause in filter(None, (each.strip() for each in _CUTS.split(spared.sub(r"\1", words)))):
        reason = _reason(clause, reason)
        if reason:
            notes.append(f"{clause!r} is left out: {reason}")
        else:
            followed.append(re.sub(rf"^(?:{_EXCEPT})(?: for)?\b", "with", clause))
    return followed


def _reason(clause: str, before: str) -> str:
    """Why a clause is not followed, `before` being that of the clause before it; empty for one that is."""
    coloured = bool(set(clause.split()) & COLOUR_WORDS)
    if re.match(rf"(?:(?:{'|'.join(_KEEP)})|{_EXCEPT})\b", clause):
        return "" if coloured else _LEAVE
    if re.match(rf"{_NEVER} {_SPARING}\b", clause):
        return _LEAVE
    if re.match(rf"(?:(?:but|and) )?{_NEVER}\b", clause):
        return NO_NEGATION if coloured or re.match(rf"{_NEVER} {_VERB}", clause) else _LEAVE
    taken = re.match(rf"(?:instead of|rather than|{'|'.join(_TAKE)}|get rid of|take away)\b", clause)
    if taken or re.search(r"\b(?:less|fewer|no) (?:\w+ ){0,2}\w+$", clause):
        return NO_NEGATION
    return before if not coloured and not re.match(rf"{_DEED}\b", clause) else ""


def _read(clause: str, groups: list[Group]) -> None:
    """Add the groups of one clause."""
    clause = _MODAL.sub(lambda found: "have" if found.group("verb") in ("have", "has", "show") else "be", clause)
    clause = re.sub(r"\b(?:the )?(?:colou?r|hue|tone|shade|tint)s? of\b", " ", clause)
    clause = re.sub(r"\b(?:of|in) (?:the |this |my )?(?:whole )?(?:bird|flower|picture|photo|image)\b", " ", clause)
    clause = re.sub(r"\bas (\w+) as .*|\blike (?:an?|the) .*", r"\1", clause)
    clause = re.sub(r"\b\w+'s\b", lambda found: found.group() if found.group() == "it's" else "the", clause)
    clause = re.sub(r"\bfrom (?:\w+ ){1,4}?(?=to\b|into\b)", "", clause)
    clause = re.sub(
        r"^(?:give|giving) (?:(?:it|him|them)\b|her(?= an?\b)|(?:the|this|that|my) (?:bird|flower)\b)", "give", clause
    )
    words = clause.split()
    adding = bool(re.match(r"(?:add|put|apply|draw)\b", clause))
    filling = bool(re.match(r"(?:replace|swap|exchange|paint|fill|dye|colou?r)\b", clause))
    start, placed, linked, joined, definite = len(groups), "", False, False, False
    i = 0
    while i < len(words):
        word = words[i]
        acting = re.fullmatch(_VERB, word) and (i == 0 or words[i - 1] in _JOINTS or word in ("make", "give", "have"))
        if groups[start:] and (word in _PLACES or (adding and word in ("to", "into"))):
            placed = word
        elif word in _LINKS:
            linked = True
        elif word in _JOINTS:
            joined = True
        elif word in _BREAKS:
            linked, joined = linked or (filling and word == "with"), False
        elif word in _DEFINITE:
            definite = True
        elif not acting and word not in _EMPTY | {"a", "an"}:
            end = next((j for j in range(i, len(words)) if words[j] in _ENDS), len(words))
            run = [each for each in words[i:end] if each not in _EMPTY]
            _add(run, groups, start, linked=linked, joined=joined, definite=definite, placed=placed)
            placed, linked, joined, definite, i = "", False, False, False, end - 1
        i += 1


def _add(
    run: list[str], groups: list[Group], start: int, *, linked: bool, joined: bool, definite: bool, placed: str
) -> None:
    """One run of words, after what stands before it."""
    last = groups[-1] if groups[start:] else None
    nouns = [i for i, word in enumerate(run) if word in _NOUNS and word not in COLOUR_WORDS]
    colour = [i for i, word in enumerate(run) if word in COLOUR_WORDS | SHADE_WORDS]
    if not nouns and (last is None or not linked):  # "the dog brown": a noun that no list has
        nouns = [i for i in range(len(run)) if i not in colour][-1:]
    if not nouns:
        if last is None:
            groups.append(Group([], run, definite=definite))
        elif linked and not last.parts:
            last.before = run  # "red to blue"
        elif placed:
            last.after += run
        elif last.parts and (last.after or linked or not last.before):
            last.after += (["and"] if joined and last.after else []) + run
        elif last.parts:
            groups.append(Group([], run, definite=definite))
        else:
            last.before += (["and"] if joined else []) + run
        return
    first, end = nouns[0], nouns[-1] + 1
    before, after = run[:first], run[end:]
    if placed and last is not None:
        if not last.parts:  # "more red on the wings"
            last.parts, last.after = [" ".join(run[first:end])], []
            return
        last.place += f" {placed} {'the ' if definite else ''}{' '.join(run[:end])}"
        last.after += after
        return
    part = " ".join(run[first:end])
    if last is not None and linked and not last.after and last.parts:
        groups.pop()  # "change the red wings to blue wings"
        last = groups[-1] if groups[start:] else None
    if last is not None and not last.parts and joined:  # "black and white wings"
        last.parts, last.before, last.after = [part], [*last.before, "and", *before], after
        return
    if joined and last is not None and not before and last.parts and not last.whole(""):
        if not last.colours:  # "the head and breast red"
            last.parts.append(part)
            last.after = after
            return
        if not after and last.before and not last.after:  # "a red head and breast"
            last.parts.append(part)
            return
    groups.append(Group([part], before, after, definite))


def _caption(groups: list[Group], subject: str) -> str:
    """Groups as one caption, or as one phrase without a subject."""
    opening, told, phrases = "", [], []
    said = [group for group in groups if group.colours or (group.parts and not group.whole(subject))]
    if not any(group.colours for group in said):
        return ""
    waiting: list[Group] = []
    for group in said:
        if not group.colours and not group.whole(subject):
            waiting.append(group)
            continue
        if not group.parts and group.before and len(group.before) == 1 and " " in group.before[0]:
            opening = group.before[0]
        elif not group.parts or group.whole(subject):
            told.append(" ".join(group.colours))
        else:
            shared = (
                [Group(each.parts, each.before, [*group.after], True) for each in waiting] if group.after else waiting
            )
            for each in (*shared, group):
                phrases.append(_noun_phrase(each))
            waiting = []
    phrases += [_noun_phrase(each) for each in waiting]
    has = _listed(phrases)
    if not subject:
        every = [*([opening] if opening else []), *told, *([has] if has else [])]
        return re.sub(r"^an? ", "", " and ".join(every))
    start = opening or (f"this {subject} is {' and '.join(told)}" if told else "")
    if not start:
        return f"this {subject} has {has}" if has else ""
    if not has:
        return start
    return f"{start} {'and' if ' with ' in start else 'with'} {has}"


def _noun_phrase(group: Group) -> str:
    """A group as "a red head and breast", "black wings"."""
    before = group.before
    if group.after:  # the colours before were those to be changed
        before = [*group.after, *(word for word in before if word not in COLOUR_WORDS | SHADE_WORDS | {"and"})]
    many = re.sub(r".* ", "", group.parts[0])
    plural = many == "feet" or (many.endswith("s") and not many.endswith(("ss", "us", "is")))
    words = " ".join([*before, " and ".join(group.parts)]) + group.place
    bare = plural or many in ("plumage", "foliage", "pollen", "feathering")
    return words if bare else f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _listed(phrases: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, (", ".join(phrases[:-1]), *phrases[-1:])))
