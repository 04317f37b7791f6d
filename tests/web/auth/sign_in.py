"""A customer's sign-in, with or without a second factor."""

import pyotp

from tests.web.conftest import PASSWORD

ANNA = "anna@example.com"
NEW_PASSWORD = "eight wells deep"
SIGN_IN = {"email": ANNA, "password": PASSWORD}


async def signed_in(client):
    return (await client.get("/api/v1/users/me")).status == 200


async def enable_totp(client):
    """Enable the second factor; returns the authenticator and the recovery codes."""
    enrolment = await (await client.post("/api/v1/users/me/totp")).json()
    authenticator = pyotp.parse_uri(enrolment["uri"])
    assert authenticator.secret == enrolment["secret"]
    answer = await client.put("/api/v1/users/me/totp", json={"code": authenticator.now()})
    assert answer.status == 200
    return authenticator, (await answer.json())["recovery_codes"]


async def sign_in_again(client):
    assert (await client.post("/api/v1/session", json=SIGN_IN)).status == 200
