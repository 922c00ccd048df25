"""Signed webhooks: what is posted, and how a receiver knows that it is ours, new and unchanged.

In: a message, a key, a time. Out: body and headers. Pure.
Source: Standard Webhooks 1.0 (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md):
the signature is HMAC-SHA256 over `id.timestamp.body`, so none of the three can be exchanged; a receiver refuses old
timestamps, and ids that it has seen.
"""

import base64
import binascii
import hashlib
import hmac
import json
from typing import Final

from lineclear.base.secret import Secret
from lineclear.control.notices.message import Message

KEY_PREFIX: Final = "whsec_"
"""A key that begins so is base64; any other is taken as the bytes of its text."""


def body_of(message: Message) -> bytes:
    """The JSON that is posted."""
    content = {"type": f"notice.{message.kind}", "timestamp": message.at, "data": message.facts()}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def signature_headers(message_id: str, at_s: int, body: bytes, key: Secret) -> dict[str, str]:
    """`webhook-id` is the same at each attempt, `webhook-timestamp` is the attempt's own."""
    signed = f"{message_id}.{at_s}.".encode() + body
    digest = hmac.new(_key_bytes(key), signed, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def _key_bytes(key: Secret) -> bytes:
    text = key.reveal()
    if not text.startswith(KEY_PREFIX):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(KEY_PREFIX), validate=True)
    except binascii.Error:
        return text.encode()
