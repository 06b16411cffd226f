"""`serving.proto` as descriptors, for reflection and for reading requests; a test holds both against each other."""

from __future__ import annotations

from functools import cache
from typing import Any

PACKAGE = "millrace.v1"
FILE = "millrace/v1/serving.proto"

#: name → fields: name, number, type; `*` in front of a type is `repeated`.
MESSAGES = {
    "GetRequest": (("api", 1, "string"), ("key", 2, "*string")),
    "Key": (("parts", 1, "*string"),),
    "MultiGetRequest": (("api", 1, "string"), ("keys", 2, "*string"), ("composite", 3, "*Key")),
    "ScanRequest": (("api", 1, "string"), ("prefix", 2, "*string"), ("limit", 3, "uint32"), ("after", 4, "string")),
    "Row": (("version", 1, "string"), ("value", 2, "bytes"), ("origin", 3, "string")),
    "Rows": (
        ("version", 1, "string"),
        ("values", 2, "*bytes"),
        ("missing", 3, "*uint32"),
        ("origin", 4, "string"),
        ("cursor", 5, "string"),
    ),
    "Existence": (("version", 1, "string"), ("exists", 2, "bool"), ("origin", 3, "string")),
    "QueryRequest": (("api", 1, "string"), ("query", 2, "string")),
    "Table": (("version", 1, "string"), ("arrow", 2, "bytes"), ("cursor", 3, "string"), ("origin", 4, "string")),
    "Piece": (("arrow", 1, "bytes"),),
    "UnionRequest": (("api", 1, "string"), ("input", 2, "string")),
    "UnionAnswer": (("answer", 1, "string"),),
}
#: service → methods: name, request, response; `*` in front of a response is a stream.
SERVICES = {
    "Kv": (
        ("Get", "GetRequest", "Row"),
        ("MultiGet", "MultiGetRequest", "Rows"),
        ("Exists", "GetRequest", "Existence"),
        ("Scan", "ScanRequest", "Rows"),
    ),
    "Sql": (("Query", "QueryRequest", "Table"), ("Stream", "QueryRequest", "*Piece")),
    "Union": (("Call", "UnionRequest", "UnionAnswer"),),
}


@cache
def pool() -> Any:
    """A descriptor pool that holds the file."""
    from google.protobuf.descriptor_pool import DescriptorPool

    found = DescriptorPool()
    found.Add(file_descriptor())
    return found


@cache
def message(name: str) -> Any:
    """The class of a message of `serving.proto`."""
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(pool().FindMessageTypeByName(f"{PACKAGE}.{name}"))


def file_descriptor() -> Any:
    """The file as protoc would describe it."""
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

    file = FileDescriptorProto(name=FILE, package=PACKAGE, syntax="proto3")
    for name, fields in MESSAGES.items():
        described = file.message_type.add(name=name)
        for field_name, number, type_ in fields:
            field = described.field.add(name=field_name, number=number)
            field.label = (
                FieldDescriptorProto.LABEL_REPEATED if type_[0] == "*" else FieldDescriptorProto.LABEL_OPTIONAL
            )
            plain = type_.lstrip("*")
            if plain in MESSAGES:
                field.type = FieldDescriptorProto.TYPE_MESSAGE
                field.type_name = f".{PACKAGE}.{plain}"
            else:
                field.type = FieldDescriptorProto.Type.Value(f"TYPE_{plain.upper()}")
            field.json_name = field_name
    for name, methods in SERVICES.items():
        service = file.service.add(name=name)
        for method, request, response in methods:
            service.method.add(
                name=method,
                input_type=f".{PACKAGE}.{request}",
                output_type=f".{PACKAGE}.{response.lstrip('*')}",
                server_streaming=True if response[0] == "*" else None,
            )
    return file
