"""The composition root of a worker process: ``python -m services.<channel>``."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import structlog
import uvloop

from shared.blockers import Blockers
from shared.breaker_policy import BreakerPolicy
from shared.broker.publisher import Publisher
from shared.channels import lanes_of
from shared.delivery import Delivery
from shared.directory import Directory
from shared.errors import BadSettings, TopologyMismatch
from shared.handling import Handler
from shared.heartbeat import Heartbeat
from shared.idempotency import Claims
from shared.logs import configure_logs
from shared.metrics import Metrics
from shared.provider_urls import Builder, providers_for
from shared.providers import Providers
from shared.recording import Recorder
from shared.retry_policy import RetryPolicy
from shared.sending import Sender
from shared.settings import Settings, load_settings
from shared.settling import Settler
from shared.templates import Templates
from shared.worker import Worker
from shared.worker_http import WorkerHttp

log = structlog.get_logger(__name__)
