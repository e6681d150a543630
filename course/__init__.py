"""The course's own machinery: exercises, checks, the corpus, the book, the command line."""
