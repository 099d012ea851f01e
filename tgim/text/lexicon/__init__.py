"""The words that the project knows: colours and shades, subjects and parts, and what synthetic pictures are made of.

Each word is told once here; other modules take their sets from these files and keep, at most, numbers for each word.
Where two lists differ though they seem to say the same, the reason stands beside them: checkpoints were trained, or
figures published, with the one or the other.

- `colours`: plain and everyday colour words, families, misspellings, shades.
- `parts`: birds, flowers and their parts, what is called alike, patterns.
- `synthetic`: parts and colours of synthetic scenes, and how they go with the words above.
"""


def each_of(words: str) -> tuple[str, ...]:
    """The words of a list that is written as a text."""
    return tuple(words.split())
