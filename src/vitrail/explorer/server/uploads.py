"""Photos that come with a request: never larger than the limit, and pictures indeed."""

import anyio
from starlette.requests import ClientDisconnect, Request

from vitrail.data.images import decode
from vitrail.explorer.server.answers import Refused

LIMIT = 32 * 2**20  # bytes
PATIENCE = 30.0  # seconds


async def read_body(request: Request, limit: int = LIMIT, patience: float = PATIENCE) -> bytes:
    """Read a request's body in pieces, and no further than the limit.

    Args:
        request: whose body has not been read yet.
        limit: in bytes.
        patience: seconds to wait for more of it: meanwhile it holds a place in the queue.
    Raises:
        Refused: with 413, before the first byte is read where the request states its length; with
            408 for a photo that stops on its way, and with 499 for one whose sender is gone.
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise _too_large(f"a photo of {int(length):,} bytes", limit)
    body = bytearray()
    stream = aiter(request.stream())
    while True:
        try:
            with anyio.fail_after(patience):
                piece = await anext(stream)
        except StopAsyncIteration:
            return bytes(body)
        except TimeoutError:
            raise _too_slow(len(body), patience) from None
        except ClientDisconnect:  # a closed page, which is nothing for the terminal
            raise _given_up(len(body)) from None
        if len(body) + len(piece) > limit:
            raise _too_large(f"a photo of more than {limit:,} bytes", limit)
        body += piece


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


def _given_up(size: int) -> Refused:
    return Refused(
        499,
        f"a photo whose sender closed the connection after {size:,} bytes",
        "a photo that arrives whole",
        "send it again",
    )


def _too_slow(size: int, patience: float) -> Refused:
    return Refused(
        408,
        f"a photo of which nothing came for {patience:g} seconds, after {size:,} bytes",
        "a photo that arrives without such a pause",
        "send it again",
    )
