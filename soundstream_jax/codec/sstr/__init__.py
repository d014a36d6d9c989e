"""The format .sstr: codes of a recording or a stream, in numpy and bytes.

Nothing here knows a model or jax. `header` and `chunks` say what each byte
means (docs/format.md says it in one place), `writer` and `reader` make files of
codes and codes of files, `scan` finds what is whole in what is damaged.
"""
