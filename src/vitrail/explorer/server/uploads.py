"""Photos that come with a request: never larger than the limit, and pictures indeed."""

from starlette.requests import Request

from vitrail.data.images import decode
from vitrail.explorer.server.answers import Refused

LIMIT = 32 * 2**20  # bytes


async def read_body(request: Request, limit: int = LIMIT) -> bytes:
    """Read a request's body in pieces, and no further than the limit.

    Args:
        request: whose body has not been read yet.
        limit: in bytes.
    Raises:
        Refused: with 413, before the first byte is read where the request tells its length.
    """
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told) > limit:
        raise _too_large(f"a photo of {int(told):,} bytes", limit)
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise _too_large(f"a photo of more than {limit:,} bytes", limit)
        pieces.append(piece)
    return b"".join(pieces)


def check_photo(data: bytes, name: str) -> None:
    """Refuse what is no picture, or one that would unfold beyond bounds.

    It is decoded and forgotten: photos that wait for their turn wait as the bytes they came as.

    Raises:
        UsageError: as ``vitrail.data.images.decode``.
    """
    decode(data, name)


def _too_large(given: str, limit: int) -> Refused:
    return Refused(
        413,
        given,
        f"at most {limit:,} bytes ({limit / 2**20:g} MB)",
        "save the photo smaller or as JPEG; the model sees at most 2048 pixels a side",
    )
