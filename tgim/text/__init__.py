"""Captions: words, vocabularies, and what an instruction means."""
