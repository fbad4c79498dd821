"""Prints, one line per request, the verdicts of the PyPI library on all requests stored in a folder.

The library knows `v1` only; with a public key, PyNaCl verifies `v1a`.
"""

import base64
import json
import os
import sys
from datetime import datetime
from pathlib import Path

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey
from standardwebhooks import Webhook, webhooks

# More than the five minutes that the library allows.
LATE_SECONDS = 301
# Keys that did not sign any request.
STRANGERS = {"whsec_": os.urandom(32), "whpk_": SigningKey.generate().verify_key.encode()}


class Clock(datetime):
    """The settable clock of the library."""

    seconds = 0

    @classmethod
    def now(cls, tz=None):
        return datetime.fromtimestamp(cls.seconds, tz)


webhooks.datetime = Clock


def is_signed(key, text, signature):
    try:
        key.verify(text, base64.b64decode(signature.removeprefix("v1a,")))
        return True
    except BadSignatureError:
        return False


def verify_asymmetric(key, body, headers):
    public = VerifyKey(base64.b64decode(key.removeprefix("whpk_")))
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    signatures = [one for one in headers["webhook-signature"].split(" ") if one.startswith("v1a,")]
    if not any(is_signed(public, text, signature) for signature in signatures):
        raise ValueError("No matching signature")


def refusal(key, body, headers, now_seconds):
    """Returns the reason why the library refuses a request that arrives at this time; None if it accepts it."""
    Clock.seconds = now_seconds
    try:
        if key.startswith("whpk_"):
            verify_asymmetric(key, body, headers)
        else:
            Webhook(key).verify(body, headers)
        return None
    except Exception as error:
        return repr(error)


def answer(request, key):
    headers = {
        "webhook-id": request["id"],
        "webhook-timestamp": request["timestamp"],
        "webhook-signature": request["signature"],
    }
    sent = int(request["timestamp"] or 0)
    body = base64.b64decode(request["body"])
    changed = bytes([body[0] ^ 1]) + body[1:] if body else body
    prefix = key[: key.index("_") + 1]
    stranger = prefix + base64.b64encode(STRANGERS[prefix]).decode()
    return {
        "refusal": refusal(key, body, headers, sent),
        "changed": refusal(key, changed, headers, sent),
        "moved": refusal(key, body, headers | {"webhook-timestamp": str(sent + 1)}, sent),
        "stranger": refusal(stranger, body, headers, sent),
        "late": refusal(key, body, headers, sent + LATE_SECONDS),
    }


for file in sorted(Path(sys.argv[1]).iterdir(), key=lambda file: file.name):
    for line in file.read_text().splitlines():
        request = json.loads(line)
        print(json.dumps([answer(request, result["key"]) for result in request["results"]]))
