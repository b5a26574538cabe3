"""`python -m capjax.serve`: captions and explanations over HTTP, and the page that shows them.

Everything goes through the same calls as `capjax.explain`, and answers have the fields of
`explain.py`'s results.jsonl. One thread owns the devices (`worker`), requests of the same kind are
joined into batches, and nothing that is sent is written to disk. Needs the extra `serve`.
"""
