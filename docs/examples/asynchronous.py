"""The same results in asynchronous code, while the event loop goes on."""

import asyncio

from parmap import parallel_imap


def square(x):
    return x * x


async def main():
    async for result in parallel_imap(square, range(5)):
        print(result)


asyncio.run(main())
