"""Text files that people and other programs write: with or without a byte-order mark, in any line ends."""

from __future__ import annotations

BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # that Excel and Notepad put before UTF-8


def decode_text(data: bytes) -> str:
    """Decode a text file: UTF-8, without a byte-order mark; bytes that are not UTF-8 are kept as surrogates."""
    return data.removeprefix(BYTE_ORDER_MARK).decode("utf-8", "surrogateescape")
