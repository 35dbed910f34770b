"""HTTPResponse: the exception class and the event that it makes."""

from __future__ import annotations

from typing import Any

import pytest
from support import LOGGER, chain, events, fan, single, trail, types

from the_edge_agent import END, MemoryCheckpointer
from the_edge_agent.actions.http_response_actions import HTTPResponse


def respond() -> None:
    raise HTTPResponse(404, {"error": "none"}, {"X-One": "1"})


EVENT = {
    "type": "http_response",
    "node": "n",
    "status": 404,
    "body": {"error": "none"},
    "headers": {"X-One": "1", "Content-Type": "application/json"},
    "state": {"x": 1},
}


class TestClass:
    """SG-66."""

    def test_defaults(self) -> None:
        """SG-66."""
        made = HTTPResponse()
        assert isinstance(made, Exception)
        assert (made.status, made.body, made.content_type) == (200, None, "application/json")
        assert made.headers == {"Content-Type": "application/json"}
        assert str(made) == "HTTP 200"
        assert HTTPResponse().headers is not made.headers

    def test_positional(self) -> None:
        """SG-66: order of the arguments."""
        made = HTTPResponse(201, "body", {"A": "b"}, "text/plain")
        assert (made.status, made.body, made.content_type) == (201, "body", "text/plain")
        assert made.headers == {"A": "b", "Content-Type": "text/plain"}
        assert str(made) == "HTTP 201"

    def test_to_dict(self) -> None:
        """SG-66: four keys in order."""
        got = HTTPResponse(201, [1], {"A": "b"}, "text/plain").to_dict()
        assert list(got) == ["status", "body", "headers", "content_type"]
        headers = {"A": "b", "Content-Type": "text/plain"}
        assert got == {"status": 201, "body": [1], "headers": headers, "content_type": "text/plain"}

    def test_given_headers_are_used_in_place(self) -> None:
        """SG-66: a non-empty dict is changed, an empty one replaced."""
        full, empty = {"A": "b"}, {}
        assert HTTPResponse(headers=full).headers is full and full["Content-Type"] == "application/json"
        assert HTTPResponse(headers=empty).headers is not empty and empty == {}

    def test_content_type_given(self) -> None:
        """SG-66."""
        assert HTTPResponse(headers={"Content-Type": "a/b"}).headers == {"Content-Type": "a/b"}

    @pytest.mark.parametrize("name", ["content-type", "CONTENT-TYPE", "Content-type"])
    def test_no_second_header_in_other_letters(self, name: str) -> None:
        """Q19: compared without case."""
        assert HTTPResponse(headers={name: "a/b"}).headers == {name: "a/b"}


class TestEvent:
    """SG-67, Q5."""

    @pytest.mark.parametrize("raise_exceptions", [False, True])
    def test_fresh_run(self, kind: str, raise_exceptions: bool) -> None:
        """SG-67, Q5: one event, no `final`, whatever the policy is; the state before merging."""
        made = single(respond, raise_exceptions=raise_exceptions)
        made.add_node("later", run=trail)
        made.add_edge("n", "later")
        assert events(made, kind, {"x": 1}) == [EVENT]

    def test_stream_events_before_it(self) -> None:
        """Q5."""
        made = chain("a", "b")
        made.node("b")["run"] = respond
        assert types(list(made.stream({}))) == ["state", "http_response"]

    def test_headers_are_those_of_the_exception(self, kind: str) -> None:
        """SG-67: fields from the exception, by identity."""
        made = HTTPResponse(200, body := object(), {"A": "b"})

        def answer(state: dict[str, Any]) -> None:
            state["changed"] = 1
            raise made

        got = events(single(answer), kind, {})[-1]
        assert got["headers"] is made.headers and got["body"] is body
        assert got["state"] == {"changed": 1}

    def test_subclass(self, kind: str) -> None:
        """SG-67: subclasses count."""

        class Teapot(HTTPResponse):
            pass

        def answer() -> None:
            raise Teapot(418)

        assert events(single(answer), kind, {})[-1]["status"] == 418

    def test_record(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """SG-67, SG-91: INFO, and no ERROR."""
        made = single(respond, log_level=20)
        events(made, kind, {})
        assert caplog.record_tuples[-1] == (LOGGER, 20, "HTTP response from node 'n': status=404")
        assert not [record for record in caplog.records if record.levelno >= 30]

    @pytest.mark.parametrize("raise_exceptions", [False, True])
    def test_fan_in(self, kind: str, raise_exceptions: bool) -> None:
        """SG-67 with target Q5: also from fan-in functions."""
        got = events(fan({"a": trail}, join=respond, raise_exceptions=raise_exceptions), kind, {"x": 1})
        assert (got[-1]["type"], got[-1]["node"], got[-1]["status"]) == ("http_response", "j", 404)
        assert len(got[-1]["state"]["parallel_results"]) == 1

    @pytest.mark.parametrize("raise_exceptions", [False, True])
    def test_resumed(self, kind: str, raise_exceptions: bool) -> None:
        """SG-67, CP-58: in resumed runs as in fresh ones."""
        made = single(respond, raise_exceptions=raise_exceptions)
        made.compile(["n"], checkpointer=MemoryCheckpointer())
        path = events(made, kind, {"x": 1})[-1]["checkpoint_path"]
        assert events(made, kind, None, checkpoint=path) == [EVENT]

    def test_branch_is_an_ordinary_failure(self) -> None:
        """SG-67: branches stay."""
        got = list(fan({"a": respond}).invoke({}))
        assert [(event["type"], event["node"], event["error"]) for event in got] == [
            ("error", "a", "HTTP 404")
        ]
        got = list(fan({"a": respond}).stream({}))
        assert [(event["type"], event.get("error")) for event in got] == [
            ("parallel_error", "HTTP 404"),
            ("final", None),
        ]

    def test_scoped_is_an_ordinary_failure(self) -> None:
        """SG-67: scoped runs stay."""
        got = single(respond).execute_scoped({}, "n", END)
        assert got == {"_scoped_error": {"node": "n", "error": "HTTP 404"}}
        with pytest.raises(RuntimeError, match=r"^Error in node 'n': HTTP 404$"):
            single(respond, raise_exceptions=True).execute_scoped({}, "n", END)

    def test_condition_lets_it_out(self, kind: str) -> None:
        """SG-47, SG-67: only node functions are looked at."""
        made = single(None)
        made.graph.remove_edge("n", END)
        made.add_conditional_edges("n", respond, {1: END})
        with pytest.raises(HTTPResponse):
            events(made, kind, {})

    def test_returned_not_raised(self, kind: str) -> None:
        """SG-38: a returned response is a value like any other."""
        value = HTTPResponse(404)
        assert events(single(lambda: value), kind, {})[-1]["state"]["result"] is value
