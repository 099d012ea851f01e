"""Readers of the files of the authors' releases: what they are called there and here, by system."""
