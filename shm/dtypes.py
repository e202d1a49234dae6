"""Which texts are the dtype of numbers and fixed-size strings, as numpy itself writes it.

Objects are among them, for who asks to refuse by name. numpy reads much more out of a text: repetitions such as
``(1000000000,)f8``, comma lists, old aliases with a warning.
"""

from __future__ import annotations

import re
from typing import Final

_WRITTEN: Final = re.compile(r"[<>|=]?[biufcmMSUVO]\d{0,10}(\[[0-9A-Za-zμ]{1,24}\])?")


def checked_dtype(text: str) -> str:
    """Return a text that somebody else wrote as a dtype, if it is one that ``dtype.str`` returns.

    Raises:
        ValueError: it is another.
    """
    if not _WRITTEN.fullmatch(text):
        raise ValueError(f"dtype {text[:40]!r} is not one that numpy writes")
    return text
