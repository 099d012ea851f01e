"""Systems for composed retrieval: a picture and a text that says what is to be different find the picture meant."""
