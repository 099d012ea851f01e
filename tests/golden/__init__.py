"""Facts of the authors' releases: names and shapes of their weights, and their computation recorded at tiny widths."""
