"""Models that say where the parts of a subject are, trained by the same loop as the editors."""
