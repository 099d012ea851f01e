"""Editing by learned curves: for each part of the subject, tones and colours over the photograph's own lightness."""
