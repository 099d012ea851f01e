"""Systems that generate pictures from captions."""
