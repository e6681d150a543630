"""Figures that answer to the reader without a kernel: `course.figures.live`.

Each is one idea in two files: a function here that draws the first state from real
numbers, and a script of the same name that moves it. A third, `.css`, has its styles.
"""
