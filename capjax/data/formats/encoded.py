"""The text of a file: UTF-8, or UTF-16 or UTF-32 with a byte order mark; else it is refused."""

import codecs

# Longest first: the mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OTHERS = (
    (b"PK\x03\x04", "a zip archive or a spreadsheet (.xlsx); unpack it, or save it as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet (.xls); save it as CSV"),
    (b"\x1f\x8b", "compressed by gzip; unpack it first"),
    (b"PAR1", "a Parquet file; write it as CSV or JSON Lines"),
    (b"\x89HDF", "an HDF5 file; write it as CSV or JSON Lines"),
)
_ADVICE = (
    "save the file as UTF-8, such as with `iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW` (name the "
    "encoding that it has)"
)


def decode_text(content: bytes) -> str:
    r"""The text in a file's bytes, its line ends as `\n`.

    Raises:
      ValueError: bytes of another encoding, whose place is named, or no text at all. No letter is
        ever replaced.
    """
    for start, kind in _OTHERS:
        if content.startswith(start):
            raise ValueError(f"got {kind}")
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = content[error.start : error.start + 1].hex()
        raise ValueError(
            f"byte 0x{found} at offset {error.start}, line {line}, is no {encoding.upper()}; "
            f"{_ADVICE}"
        ) from error
    place = text.find("\0")
    if place >= 0:
        line = text.count("\n", 0, place) + 1
        raise ValueError(
            f"a zero byte in line {line}: this is no text, or UTF-16 without its byte order mark; "
            f"{_ADVICE}"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")
