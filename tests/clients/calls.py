"""Calls through the client that openapi-python-client generates, as its README shows them.

    calls.py URL        with SETTLE_ADMIN_TOKEN; the folder of the client is in PYTHONPATH
"""

import io
import os
import sys

from settle_client import AuthenticatedClient
from settle_client.api.apps import create_app
from settle_client.api.customers import get_customer_state, name_customer
from settle_client.api.destinations import create_destination, update_destination
from settle_client.api.keys import create_key, list_keys
from settle_client.api.overview import get_overview
from settle_client.api.platforms import create_platform
from settle_client.api.sales import import_sales
from settle_client.api.sign_ins import list_sign_ins
from settle_client.api.stores import receive_store_message
from settle_client.models import (
    DestinationPatch,
    GetCustomerStateEnvironment,
    NamedCustomer,
    NewApp,
    NewKey,
    NewKeyRole,
    NewPlatform,
    NewPlatformStore,
    NewWebhook,
    Problem,
)
from settle_client.types import File

client = AuthenticatedClient(base_url=sys.argv[1], token=os.environ["SETTLE_ADMIN_TOKEN"])


def found(answer):
    """Returns the successful answer; fails on a problem."""
    assert answer is not None and not isinstance(answer, Problem), answer
    return answer


app = found(create_app.sync(client=client, body=NewApp(name="python"))).id
fire = NewPlatform(name="fire", store=NewPlatformStore.AMAZON, package_name="com.example.reader")
platform = found(create_platform.sync(app, client=client, body=fire))
named = NamedCustomer(external_id="anna", app_user_id="u1")
user = found(name_customer.sync(app, client=client, body=named)).user_id
sandbox = GetCustomerStateEnvironment.SANDBOX
state = found(get_customer_state.sync(app, client=client, external_id="anna", environment=sandbox))
assert (state.user_id, state.environment) == (user, "sandbox"), state
assert isinstance(get_customer_state.sync(app, client=client, external_id="otto"), Problem)

found(get_overview.sync(client=client))
key = found(create_key.sync(client=client, body=NewKey(name="python", role=NewKeyRole.SUPPORT, app_id=app)))
assert [(one.id, one.role) for one in found(list_keys.sync(client=client, app_id=app)).items] == [(key.id, "support")]
found(list_sign_ins.sync(client=client))

hook = NewWebhook(kind="webhook", name="hook", url="https://receiver.invalid/hook")
destination = found(create_destination.sync(app, client=client, body=hook)).id
changed = found(update_destination.sync(destination, client=client, body=DestinationPatch(rate=5, name="other")))
assert (changed.rate, changed.name) == (5, "other"), changed

columns = "Transaction Id,Transaction Time,Transaction Type,Vendor SKU,Receipt ID,Marketplace Currency,Sales Price"
sale = "t1,2026-01-31T12:00:00Z,Charge,month,a receipt,USD,9.99"
report = File(payload=io.BytesIO(f"{columns}\n{sale}\n".encode()))
found(import_sales.sync(app, client=client, body=report))

store, ingress_key = platform.notification_url.rsplit("/", 2)[1:]
message = receive_store_message.sync(store, ingress_key, client=client, body=File(payload=io.BytesIO(b"{}")))
assert isinstance(message, Problem) and message.status == 400, message
