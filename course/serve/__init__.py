"""A server for a GPT on your own machine: OpenAI's interface, and a chat page.

`engine` writes many texts at once; the other files speak HTTP with its readers.
"""
