"""Image-text matching models, trained by the same loop as the editors."""
