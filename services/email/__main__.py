"""Runs the e-mail channel: SMTP, SendGrid."""

from services.email import sendgrid, smtp
from shared.worker.run import run_channel

if __name__ == "__main__":
    run_channel("email", {"smtp": smtp.build, "smtps": smtp.build, "sendgrid": sendgrid.build})
