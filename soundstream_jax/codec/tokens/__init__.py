"""Codes of a dataset or a folder, for those who train on them.

The folder that comes of it is described in docs/tokens.md, with the ten lines
that read it. `plan` cuts the input into shards, `inputs` opens its items, `sequences`
encodes one, `shards` a shard of them, `work` all shards, side by side with
whoever else works on the same folder, and `index` finishes it. A sequence is
the codes of one channel of an item.
"""
