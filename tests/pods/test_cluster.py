"""The stand-in is as strict as what it stands for: otherwise the tests on it would prove little."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from cluster import NAMESPACE, TOKEN, Cluster

PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
MERGE = "application/strategic-merge-patch+json"


@pytest.fixture
def server(cluster: Cluster, tmp_path: Path) -> str:
    config = json.loads(cluster.config(tmp_path / "config").read_text())
    return str(config["clusters"][0]["cluster"]["server"])


def ask(
    server: str,
    method: str,
    path: str,
    body: Any = None,
    *,
    token: str = TOKEN,
    kind: str = "application/json",
) -> tuple[int, Any]:
    request = urllib.request.Request(
        server + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": kind},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read().decode()
            is_json = answer.headers["Content-Type"] == "application/json"
            return answer.status, json.loads(
                text
            ) if is_json and text and "\n" not in text else text
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def pod(name: str = "one", script: str = "print('hello')", **container: Any) -> dict[str, Any]:
    base = {
        "name": "base",
        "image": "shop/worker:1",
        "command": ["python", "-c", script],
        **container,
    }
    labels = {"app": "x", "part": name}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [base], "restartPolicy": "Never"},
    }


def ended(server: str, name: str = "one") -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found: dict[str, Any] = ask(server, "GET", f"{PODS}/{name}")[1]
        if found["status"]["phase"] in ("Succeeded", "Failed"):
            return found
        time.sleep(0.02)
    raise AssertionError("the pod did not end")


def test_only_the_token_lets_in(server: str) -> None:
    assert ask(server, "GET", PODS, token="another")[0] == 401
    assert ask(server, "GET", PODS)[0] == 200


def test_a_body_that_the_schema_does_not_know_is_refused(server: str, cluster: Cluster) -> None:
    code, said = ask(server, "POST", PODS, pod(imagePullPolice="Always"))

    assert (code, said["reason"]) == (422, "Invalid")
    assert "imagePullPolice" in said["message"]
    assert cluster.created == []


@pytest.mark.parametrize(
    "broken",
    [
        pod(name="With_Capitals"),
        pod(image=""),
        pod(volumeMounts=[{"name": "nowhere", "mountPath": "/x"}]),
        pod(resources={"requests": {"nvidia.com/gpu": "2"}, "limits": {"nvidia.com/gpu": "1"}}),
        {**pod(), "metadata": {"name": "x", "labels": {"run": "a:b"}}},
    ],
)
def test_what_the_api_servers_own_checks_refuse(server: str, broken: dict[str, Any]) -> None:
    assert ask(server, "POST", PODS, broken)[0] == 422


def test_a_name_is_there_once(server: str) -> None:
    assert ask(server, "POST", PODS, pod())[0] == 201
    code, said = ask(server, "POST", PODS, pod())

    assert (code, said["reason"]) == (409, "AlreadyExists")


def test_what_is_not_there_is_not_found(server: str) -> None:
    for method in ("GET", "DELETE"):
        assert ask(server, method, f"{PODS}/none")[0] == 404
    assert ask(server, "GET", "/api/v1/namespaces/default/pods")[0] == 404
    assert ask(server, "GET", "/apis/batch/v1/jobs")[0] == 404


def test_a_patch_changes_labels_and_never_the_spec(server: str) -> None:
    ask(server, "POST", PODS, pod())
    label = {"metadata": {"labels": {"seen": "True", "part": None}}}

    code, changed = ask(server, "PATCH", f"{PODS}/one", label, kind=MERGE)
    spec = ask(server, "PATCH", f"{PODS}/one", {"spec": {"nodeName": "x"}}, kind=MERGE)

    assert code == 200
    assert changed["metadata"]["labels"] == {"app": "x", "seen": "True"}
    assert spec[0] == 422
    assert ask(server, "PATCH", f"{PODS}/one", label)[0] == 415


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("", {"one", "two"}),
        ("app=x,part!=one", {"two"}),
        ("!app", set()),
        ("app,!other", {"one", "two"}),
    ],
)
def test_selectors(server: str, selector: str, names: set[str]) -> None:
    for name in ("one", "two"):
        ask(server, "POST", PODS, pod(name))

    _, found = ask(server, "GET", f"{PODS}?labelSelector={selector}")

    assert {item["metadata"]["name"] for item in found["items"]} == names
    assert ask(server, "GET", f"{PODS}?labelSelector=a%3E3")[0] == 400


def test_a_container_ends_with_its_code_its_word_and_its_log(server: str) -> None:
    script = "print('row'); import os, sys;"
    script += "open(os.environ['NIGHTSHIFT_COMPUTE__TERMINATION_LOG'], 'w').write('bye');"
    ask(server, "POST", PODS, pod(script=script + "sys.exit(3)"))

    state = ended(server)["status"]["containerStatuses"][0]["state"]["terminated"]

    assert (state["exitCode"], state["reason"], state["message"]) == (3, "Error", "bye")
    assert ask(server, "GET", f"{PODS}/one/log")[1] == "row\n"


def test_a_deletion_of_another_pod_of_that_name_is_refused(server: str, cluster: Cluster) -> None:
    ask(server, "POST", PODS, pod(script="import time; time.sleep(60)"))

    body = {"preconditions": {"uid": "another"}}
    assert ask(server, "DELETE", f"{PODS}/one", body)[0] == 409
    assert ask(server, "DELETE", f"{PODS}/one", {"grace": 1})[0] == 400
    assert "deletionTimestamp" not in cluster.pods["one"]["metadata"]


def test_a_watch_tells_every_event_from_a_version_on(server: str) -> None:
    ask(server, "POST", PODS, pod())
    ended(server)
    events = f"/api/v1/namespaces/{NAMESPACE}/events?fieldSelector=involvedObject.name%3Done"

    _, listed = ask(server, "GET", events)
    _, told = ask(server, "GET", f"{events}&watch=true&timeoutSeconds=0.2&resourceVersion=0")

    changes = [json.loads(line) for line in told.splitlines()]
    assert [change["object"] for change in changes] == listed["items"]
    assert listed["items"][0]["reason"] == "Scheduled"
    last = listed["metadata"]["resourceVersion"]
    later = f"{events}&watch=true&timeoutSeconds=0.2&resourceVersion={last}"
    assert ask(server, "GET", later)[1] == ""
