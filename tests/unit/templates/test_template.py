from shared.templates.template import Template


def test_a_template_without_a_part_has_an_empty_one() -> None:
    template = Template.model_validate_json('{"code": "OTP", "body": "x", "title": null, "version": 3}')
    assert template == Template(code="OTP", body="x", title="", subject="", html="")
