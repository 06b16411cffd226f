"""The shape of a spec file as pydantic models: the border, where text becomes frozen values of `millrace.spec.model`.

Every key is declared once, with its description and examples: parsing, JSON Schema and `docs/spec.md` come from that.
A choice (a step, a check, an API) is a mapping with one key out of many, so no unions are needed and an error's path is
the path in the file.
"""
