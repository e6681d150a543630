"""The course's own machinery: exercises, checks, corpus, book, command line."""
