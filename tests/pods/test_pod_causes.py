"""A pod that fails says why in one line, with the way out; what a retry cannot heal is not retried.

The container is a few lines of Python instead of a stage: what is tested is what becomes of a pod.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from cluster import Cluster
from cluster_faults import PodFault
from pod_tasks import LONG, context, operator, place, run_to_end

from nightshift.errors import EngineError, ParentMissing
from nightshift_airflow.pods.causes import LESS_MEMORY, Cause, Seen, cause_of

LEAVES = "import os, sys; open(os.environ['NIGHTSHIFT_COMPUTE__TERMINATION_LOG'], 'w').write({!r});"


pytestmark = pytest.mark.usefixtures("lake")


def why(script: str = LONG, stage: str = "collect", **kwargs: Any) -> AirflowException:
    """The exception that a try ends with."""
    task = operator(stage, cmds=["python", "-c", script], **kwargs)
    with pytest.raises(AirflowException) as raised:
        run_to_end(task, context(stage))
    assert "\n" not in str(raised.value)
    assert "None" not in str(raised.value)
    return raised.value


def of_fault(cluster: Cluster, what: Any, **more: Any) -> str:
    cluster.pod_faults.append(PodFault(what, "collect", when="working", **more))
    return str(why(place=place(pod_memory="1Gi")))


def test_out_of_memory_names_the_limit_and_the_setting(cluster: Cluster) -> None:
    assert of_fault(cluster, "oom") == (
        "collect: out of memory: its limit is 1Gi. Hint: raise NIGHTSHIFT_AIRFLOW__POD_MEMORY."
    )


def test_an_eviction_carries_the_kubelets_words(cluster: Cluster) -> None:
    assert of_fault(cluster, "evict") == (
        "collect: its pod was evicted: The node was low on resource: memory. Threshold quantity: "
        "100Mi. Hint: a retry goes on where this one stopped; if it happens again, raise "
        "NIGHTSHIFT_AIRFLOW__POD_MEMORY."
    )


def test_a_lost_node_is_not_waited_for(cluster: Cluster) -> None:
    assert of_fault(cluster, "lost_node") == (
        "collect: the node of its pod was lost: Node node-1 which was running the pod is lost. "
        "Hint: a retry goes on where this one stopped."
    )


def test_a_pod_that_is_gone(cluster: Cluster) -> None:
    assert of_fault(cluster, "vanish").startswith("collect: its pod is gone: somebody deleted it")


def test_a_gpu_that_no_node_has(cluster: Cluster) -> None:
    said = str(why(stage="refresh", place=place(gpus=1)))

    assert "no node takes its pod: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu" in said
    assert "lower NIGHTSHIFT_AIRFLOW__GPUS" in said


def test_a_node_that_does_not_exist(cluster: Cluster) -> None:
    said = str(why(place=place(node_selector={"disk": "fast"})))

    assert "didn't match Pod's node affinity/selector. Hint: compare NODE_SELECTOR" in said


def test_a_claim_that_does_not_exist(cluster: Cluster) -> None:
    said = str(why(place=place(cache_claim="models")))

    assert 'persistentvolumeclaim "models" not found' in said


def test_an_image_that_cannot_be_pulled(cluster: Cluster) -> None:
    said = str(why(place=place(image="shop/worker:none")))

    assert "the image shop/worker:none cannot be pulled (ImagePullBackOff)" in said
    assert "IMAGE_PULL_SECRETS" in said


def test_a_missing_secret_is_not_waited_for_until_the_start_is_overdue(cluster: Cluster) -> None:
    del cluster.secrets["nightshift"]

    said = str(why(place=place(startup_seconds=600)))

    assert 'made (CreateContainerConfigError): secret "nightshift" not found. Hint: kubectl' in said


def test_the_tasks_time_limit(cluster: Cluster) -> None:
    said = str(why(execution_timeout=timedelta(seconds=2)))

    assert said.startswith("collect: it ran into its time limit of 2 s and was stopped. Hint:")
    assert cluster.pods == {}


def test_the_pods_own_time_limit(cluster: Cluster, tmp_path: Path) -> None:
    template = tmp_path / "short.yaml"
    template.write_text("{spec: {activeDeadlineSeconds: 1, containers: [{name: base}]}}")

    said = str(why(place=place(pod_template=template)))

    assert "time limit of 1 s" in said


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ParentMissing("No state ends there.", hint="run it"), AirflowFailException),
        (EngineError("The model is broken.", hint="mend it"), AirflowException),
    ],
)
def test_our_own_error_says_whether_a_retry_heals(cluster: Cluster, error: Any, kind: type) -> None:
    raised = why(LEAVES.format(error.at(night="N").as_json()) + f"sys.exit({error.exit_code})")

    assert type(raised) is kind
    assert str(raised) == (
        f"collect: failed (exit {error.exit_code}): {error.message} [night N]. Hint: {error.hint}."
    )


def test_a_crash_without_a_word_shows_its_last_line(cluster: Cluster) -> None:
    assert str(why("raise ValueError('odd')")) == "collect: failed (exit 1): ValueError: odd."


def test_a_gpu_that_the_container_does_not_see(cluster: Cluster) -> None:
    said = str(why("raise RuntimeError('No CUDA GPUs are available')"))

    assert "No CUDA GPUs are available. Hint: the pod sees no GPU" in said


def test_a_kill_that_was_no_lack_of_memory(cluster: Cluster) -> None:
    said = str(why("import os; os.kill(os.getpid(), 9)"))

    assert "it was killed from outside (exit 137)" in said


def test_a_pod_that_ends_well_without_a_dataset_has_failed(cluster: Cluster) -> None:
    said = str(why("print('all done!')"))

    assert "its pod ended well, but the lake at file://" in said
    assert "do Airflow and the pods use the same lake" in said


def test_a_claimed_dataset_that_the_lake_does_not_have_is_no_success(cluster: Cluster) -> None:
    word = json.dumps({"stage": "collect", "digest": "0" * 64})

    assert "the lake at" in str(why(LEAVES.format(word)))


def test_what_was_left_behind_is_taken_away(cluster: Cluster) -> None:
    why("raise ValueError('odd')")
    why(place=place(image="shop/worker:none"))

    assert cluster.pods == {}


# --- the words alone ----------------------------------------------------------------------------


def pod(**status: Any) -> Any:
    """A pod with one container, as either client gives it."""
    given = {
        "phase": "Failed",
        "reason": None,
        "message": None,
        "conditions": None,
        "container_statuses": None,
    }
    container = SimpleNamespace(name="base", image="i", resources=None)
    spec = SimpleNamespace(containers=[container], active_deadline_seconds=None)
    return SimpleNamespace(spec=spec, status=SimpleNamespace(**{**given, **status}))


def ended(code: int, reason: str = "Error", message: str | None = None) -> dict[str, Any]:
    over = SimpleNamespace(exit_code=code, reason=reason, message=message)
    state = SimpleNamespace(terminated=over, waiting=None, running=None)
    return {"container_statuses": [SimpleNamespace(name="base", state=state)]}


def condition(kind: str, status: str, reason: str, message: str) -> Any:
    return SimpleNamespace(type=kind, status=status, reason=reason, message=message)


def test_a_gpus_full_memory_is_another_thing_than_a_pods() -> None:
    word = EngineError("CUDA out of memory. Tried to allocate 2 GiB").as_json()

    found = cause_of(Seen("finetune", pod(**ended(32, message=word)), on_gpu=True))

    assert "lower finetune.batch" in found.hint


@pytest.mark.parametrize("stage", LESS_MEMORY)
def test_what_makes_a_stage_smaller_is_a_setting(stage: str) -> None:
    from nightshift.settings import Settings

    for path in LESS_MEMORY[stage].split(" or "):
        value: Any = Settings()
        for name in path.split("."):
            value = getattr(value, name)
        assert value > 0

    hint = cause_of(Seen(stage, pod(**ended(137, "OOMKilled")), on_gpu=True)).hint
    assert hint == f"raise NIGHTSHIFT_AIRFLOW__GPU_POD_MEMORY, or lower {LESS_MEMORY[stage]}"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (lambda: pod(phase="Failed"), "did not end: nothing more is known"),
        (lambda: pod(phase="Unknown"), "the node of its pod was lost"),
        (lambda: pod(**ended(1, "Error", None)), "failed (exit 1): Error"),
        (lambda: pod(**ended(143)), "it was stopped from outside (exit 143)"),
        (
            lambda: pod(
                conditions=[condition("DisruptionTarget", "True", "Preemption", "made room for x")]
            ),
            "its pod was evicted: made room for x",
        ),
        (
            lambda: pod(reason="Evicted", message="ephemeral local storage usage exceeds 20Gi"),
            "storage usage exceeds 20Gi. Hint: a retry goes on where this one stopped; if it "
            "happens again, raise NIGHTSHIFT_AIRFLOW__SCRATCH_SIZE",
        ),
    ],
)
def test_every_end_has_words(given: Callable[[], Any], text: str) -> None:
    line = cause_of(Seen("collect", given())).line("collect")

    assert text in line
    assert "None" not in line


def test_what_the_kubelet_warned_of_is_said_when_nothing_else_is() -> None:
    waiting = pod(phase="Pending")

    line = cause_of(Seen("collect", waiting, ["FailedMount: no such volume"])).line("collect")

    assert "its pod is pending and did not end: FailedMount: no such volume" in line


def test_a_cause_is_one_line_with_one_full_stop() -> None:
    assert Cause("a\n b.", "do c").line("collect") == "collect: a b. Hint: do c."
