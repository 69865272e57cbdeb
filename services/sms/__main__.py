"""Runs the SMS channel: Twilio, Vonage."""

from services.sms import twilio, vonage
from shared.worker.run import run_channel

if __name__ == "__main__":
    run_channel("sms", {"twilio": twilio.build, "vonage": vonage.build})
