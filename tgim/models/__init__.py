"""Every editing system, by name: one paper, one file, one line here."""
