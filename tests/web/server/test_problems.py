"""Problem documents of every error that the store can raise."""

import inspect
import json

import jsonschema
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from bookstore.errors import Invalid, InvalidFields
from web.api.openapi import static_file
from web.server import problems
from web.server.errors import Fault, InvalidInput
from web.server.keys import REQUEST_ID
from web.server.problems import MEMBERS, STATUS

SCHEMA = json.loads(static_file("openapi.json"))["problem"]


def example(kind):
    """An error of this class; its arguments by their types and names."""
    if kind is InvalidInput:
        return kind([Fault("#/a", "wrong"), Fault("", "wrong", "limit")])
    if kind is InvalidFields:
        return kind({"a": "wrong", "b": "wrong"})
    arguments = []
    for name, parameter in inspect.signature(kind.__init__).parameters.items():
        if name == "self" or parameter.default is not parameter.empty:
            continue
        note = str(parameter.annotation)
        arguments.append(["x"] if "Sequence" in note else 7 if "int" in note else "x")
    return kind(*arguments)


@pytest.mark.parametrize("kind", STATUS, ids=lambda kind: kind.__name__)
def test_facts_keep_the_members_of_every_problem(kind):
    problem = problems.from_store_error(example(kind))
    request = make_mocked_request("POST", "/api/v1/x")
    request[REQUEST_ID] = "a"

    content = json.loads(problems.document(request, problem).body)

    assert not problem.facts.keys() & MEMBERS
    assert (content["status"], content["code"]) == (STATUS[kind], kind.code)
    jsonschema.validate(content, SCHEMA)


def test_a_fact_with_a_reserved_name_is_not_shown():
    request = make_mocked_request("POST", "/api/v1/x")
    problem = problems.Problem(409, "stale", "x", facts=dict.fromkeys(MEMBERS, "wrong"))

    content = json.loads(problems.document(request, problem).body)

    assert content["status"] == 409
    assert content["title"] == "Stale"


@pytest.mark.parametrize(("in_query", "place"), [(True, "parameter"), (False, "pointer")])
def test_an_invalid_value_is_named_where_it_was_sent(in_query, place):
    problem = problems.from_store_error(Invalid("cursor", "No."), in_query=in_query)

    assert [set(fault) for fault in problem.facts["errors"]] == [{place, "detail"}]


def test_an_http_error_of_aiohttp_has_our_code():
    assert problems.from_http_error(web.HTTPExpectationFailed()).code == "expectation-failed"
