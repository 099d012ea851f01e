"""The authors' files become ours: what they are called there and here, by system. `tgim.convert` is the door."""
