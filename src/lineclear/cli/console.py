"""`lineclear console`: a link into the console."""

from urllib.parse import urlsplit

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.output import Output
from lineclear.client.admin import AdminClient, path_of


@click.command()
@admin_command
def console(client: AdminClient, output: Output) -> None:
    """Print a link that signs whoever opens it first in to the console; valid for ten minutes."""
    answer = client.post(path_of("sign-in-links"), None)
    is_public = answer.get("is_public", False)
    url = answer["url"] if is_public else link_of(client.url, answer["url"], answer["path"])
    output.value({"url": url, "expires_at": answer["expires_at"]}, [url])
    output.note(f"opens once, until {answer['expires_at']}")


def link_of(asked: str, url: str, path: str) -> str:
    """The server's own link if it was asked at its own address, else the link below the address that was used."""
    here, there = urlsplit(asked), urlsplit(url)
    return url if (here.scheme, here.netloc) == (there.scheme, there.netloc) else asked.rstrip("/") + path
