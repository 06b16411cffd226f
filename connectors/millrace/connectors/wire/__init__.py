"""Columnar encoders between Arrow and wire formats, and the decoders that readers use.

Encoders take pyarrow arrays and run no Python code per row. A reader that imports `protobuf`, `json`, `msgpack`,
`text`, `key_template`, `compression` or `replies` pulls in neither pyarrow nor numpy: the halves that encode stand in
modules named `*_columns`, imported when an encoder is called.
"""
