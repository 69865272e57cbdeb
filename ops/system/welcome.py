"""Writes the text that a user sees when everything is running: the addresses, and one request to paste."""

from rich.markup import escape
from rich.text import Text

from ops.servers.local import PASSWORD, given_servers, private_rabbitmq
from ops.servers.rabbitmq import USER
from ops.settings import Configuration
from ops.system.fleet import devices_url
from ops.terminal import styled

_ENVELOPE = (
    '{"request_id": "hello-\'$(date +%s)\'", "notification_type": "push", "user_id": "user_id1",\n'
    '    "template_code": "PRODUCT_UPDATE", "variables": {"name": "Ada", "link": "https://example.com"}}'
)


def welcome(configuration: Configuration) -> Text:
    gateway = f"http://127.0.0.1:{configuration.product.gateway.port}"
    rows = [("API", f"{gateway}/apidocs/"), ("Health", f"{gateway}/health")]
    if configuration.product.sockets.role != "consumer":
        page = f"{gateway}/demo, and " if configuration.product.demo_page else ""
        rows.append(("Inboxes", f"{page}{devices_url(configuration)} for devices"))
    if configuration.private_rabbitmq:
        where = configuration.place.rabbitmq / PASSWORD
        url = private_rabbitmq(configuration).management_url
        rows.append(("RabbitMQ", f"{url} (user {USER}, password in {where})"))
    rows += [(name, f"given by {setting}") for name, _, setting in given_servers(configuration)]
    if not configuration.product.production:
        rows.append(("Sandbox", f"{configuration.product.sandbox.url}/sandbox/deliveries"))
    rows += [
        ("Logs", f"./notify logs, or the files in {configuration.place.log}"),
        ("Stop", "./notify down, or Ctrl-C in the foreground"),
    ]
    table = "\n".join(f"  {title:<10}{escape(text)}" for title, text in rows)
    request = escape(_curl(configuration, gateway))
    return styled(f"\n[bold green]Everything is running.[/]\n\n{table}\n\nSend a notification:\n\n{request}\n")


def _curl(configuration: Configuration, gateway: str) -> str:
    key = " -H 'X-API-Key: YOUR_KEY'" if configuration.product.gateway.api_keys else ""
    return f"  curl -s {gateway}/notifications -H 'Content-Type: application/json'{key} -d '{_ENVELOPE}'"
