"""Servers on this machine: edits over HTTP and their page (`tgim serve`), points of parts clicked (`tgim label`).

`local` holds what keeps both safe: the hosts they answer to, limits of size, headers, and how they start and stop.
"""
