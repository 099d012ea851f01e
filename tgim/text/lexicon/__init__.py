"""The words that the project knows: colours and shades, subjects and parts, and what synthetic pictures are made of.

Each word stands here once; other modules take their sets from these files and keep, at most, numbers for each word.
Where two lists that seem equal differ, a comment gives the reason: checkpoints were trained, or figures published, with
one or the other.

- `colours`: plain and everyday colour words, families, misspellings, shades.
- `parts`: birds, flowers and their parts, what is called alike, patterns.
- `synthetic`: parts and colours of synthetic scenes, and how they go with the words above.
"""


def each_of(words: str) -> tuple[str, ...]:
    """Split a list that is written as a text into its words."""
    return tuple(words.split())
