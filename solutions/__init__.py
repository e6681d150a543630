"""What the reader builds, one module per chapter: the validated solutions.

Each module imports the standard library, torch, tiktoken, regex and earlier solutions
only, so that it can be read, copied and run without the rest of the course.
"""
