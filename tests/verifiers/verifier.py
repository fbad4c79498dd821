"""Says, line by line, what the library of PyPI thinks of all requests that are kept in a folder."""

import base64
import json
import sys
from datetime import datetime
from pathlib import Path

from standardwebhooks import Webhook, webhooks

# Longer than the five minutes that the library allows.
LATE_SECONDS = 301


class Clock(datetime):
    """The time that the library sees."""

    seconds = 0

    @classmethod
    def now(cls, tz=None):
        return datetime.fromtimestamp(cls.seconds, tz)


webhooks.datetime = Clock


def refusal(secret, body, headers, now_seconds):
    """Why it refuses a request that is looked at then; none when it does not."""
    Clock.seconds = now_seconds
    try:
        Webhook(secret).verify(body, headers)
        return None
    except Exception as error:
        return repr(error)


def answer(request, secret):
    headers = {
        "webhook-id": request["id"],
        "webhook-timestamp": request["timestamp"],
        "webhook-signature": request["signature"],
    }
    sent = int(request["timestamp"] or 0)
    body = base64.b64decode(request["body"])
    changed = bytes([body[0] ^ 1]) + body[1:] if body else body
    return {
        "refusal": refusal(secret, body, headers, sent),
        "changed": refusal(secret, changed, headers, sent),
        "late": refusal(secret, body, headers, sent + LATE_SECONDS),
    }


for file in sorted(Path(sys.argv[1]).iterdir(), key=lambda file: file.name):
    for line in file.read_text().splitlines():
        request = json.loads(line)
        print(json.dumps([answer(request, said["secret"]) for said in request["said"]]))
