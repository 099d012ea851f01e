"""Editing by rules: captions parsed to parts and colours, part masks, and recolouring inside them."""
