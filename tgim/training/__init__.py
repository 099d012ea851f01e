"""Training: recipes, runs, the loop, and what a run keeps."""
