import pytest
import structlog

from shared.breaker.breaker import Breaker, Permit
from shared.breaker.report import State
from shared.metrics import Metrics
from shared.providers.failover import Guarded, Providers
from shared.providers.provider import Message
from shared.settings.groups.breaker import BreakerPolicy
from tests.support.fakes.breaker import Clock


class Named:
    def __init__(self, name: str, timeout_s: float = 10) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self.connections = 10
        self.steps: list[str] = []

    async def open(self) -> None:
        self.steps.append("open")

    def prepare(self, message: Message) -> Message:
        return message

    async def send(self, request: Message) -> str:
        return ""

    async def close(self) -> None:
        self.steps.append("close")


def two() -> tuple[Providers, Clock]:
    clock, policy = Clock(), BreakerPolicy(failures=1)
    made = [
        Guarded(Named("smtp", 10), Breaker("email/smtp", policy, clock, uniform=lambda: 0.5)),
        Guarded(Named("smtp2", 20), Breaker("email/smtp2", policy, clock, uniform=lambda: 0.5)),
    ]
    return Providers(made), clock


def chosen(providers: Providers) -> str | None:
    choice = providers.choose()
    return None if choice is None else choice.provider.name


def permit(providers: Providers) -> Permit:
    """Returns the permit of the next call from the chosen provider's breaker."""
    choice = providers.choose()
    assert choice is not None
    given = choice.breaker.permit()
    assert given is not None
    return given


def worst(providers: Providers) -> State:
    return providers.worst_state


def break_first(providers: Providers) -> None:
    permit(providers).failure(0.1)


def test_the_first_provider_gets_the_call_while_it_works() -> None:
    providers, _ = two()
    assert [chosen(providers) for _ in range(3)] == ["smtp"] * 3


def test_the_second_provider_gets_the_call_until_the_first_may_work_again() -> None:
    providers, clock = two()
    break_first(providers)
    assert chosen(providers) == "smtp2"
    assert providers.states() == {"smtp": "open", "smtp2": "closed"}
    assert worst(providers) == "open"
    assert providers.retry_in_s() == 0
    clock.now += 30
    assert chosen(providers) == "smtp"
    assert worst(providers) == "open"
    permit(providers)
    assert worst(providers) == "half_open"


def test_while_one_call_probes_the_first_the_others_go_to_the_second() -> None:
    providers, clock = two()
    break_first(providers)
    clock.now += 30
    assert chosen(providers) == "smtp"
    permit(providers)
    assert [chosen(providers) for _ in range(3)] == ["smtp2"] * 3


def test_with_all_breakers_open_none_is_chosen_and_the_shortest_wait_is_returned() -> None:
    providers, clock = two()
    break_first(providers)
    clock.now += 10
    break_first(providers)
    assert providers.choose() is None
    assert providers.retry_in_s() == pytest.approx(20)


def test_the_projects_quota_sends_calls_to_the_second() -> None:
    providers, _ = two()
    permit(providers).throttled("a", 3, whole_provider=True)
    assert chosen(providers) == "smtp2"


def test_one_recipients_quota_does_not() -> None:
    providers, _ = two()
    permit(providers).throttled("a", 3, whole_provider=False)
    assert chosen(providers) == "smtp"


def test_breakers_are_found_by_name_and_the_longest_timeout_is_known() -> None:
    providers, _ = two()
    assert providers.breaker("smtp2").name == "email/smtp2"
    assert providers.timeout_s == 20
    with pytest.raises(KeyError):
        providers.breaker("fcm")
    with pytest.raises(ValueError, match="at least one"):
        Providers([])


async def test_all_are_opened_and_closed() -> None:
    first, second = Named("fcm"), Named("fcm2")
    providers = Providers.of("push", [first, second], BreakerPolicy(), Metrics())
    await providers.open()
    await providers.close()
    assert first.steps == second.steps == ["open", "close"]


def test_state_is_in_the_metrics_and_each_change_in_the_log() -> None:
    metrics = Metrics()

    def gauge() -> float | None:
        labels = {"channel": "push", "provider": "fcm"}
        return metrics.registry.get_sample_value("notify_breaker_state", labels)

    with structlog.testing.capture_logs() as lines:
        providers = Providers.of("push", [Named("fcm")], BreakerPolicy(failures=1), metrics)
        assert gauge() == 0
        break_first(providers)
        assert gauge() == 2
        providers.breaker("fcm").force("closed")
        assert gauge() == 0
        providers.breaker("fcm").force(None)
        providers.breaker("fcm").pause(3)
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("breaker_changed", "warning"),
        ("breaker_changed", "info"),
        ("provider_throttled", "warning"),
    ]
    assert lines[0]["why"] == "1 failures in a row"
