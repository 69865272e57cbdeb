"""Runs the push channel: FCM."""

from services.push import fcm
from shared.worker.run import run_channel

if __name__ == "__main__":
    run_channel("push", {"fcm": fcm.build})
