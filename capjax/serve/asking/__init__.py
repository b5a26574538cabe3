"""What can be asked of a picture, as values: equal ones are answered in one batch.

One file a question: a frozen dataclass with `quick` and `run`; the worker knows nothing of them.
"""
