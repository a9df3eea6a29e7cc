"""deploy/helm and deploy/kubernetes: rights, secrets by reference, what the chart is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from airflow_for_tests import PROJECT

from nightshift.settings import Settings
from nightshift_airflow.pods.environment import variables_of
from nightshift_airflow.settings import PREFIX, AirflowSettings

KUBERNETES = PROJECT / "deploy" / "kubernetes"
HELM = PROJECT / "deploy" / "helm"
VERSIONS = ("1.28", "1.31", "1.34")
NAMESPACE = "nightshift"
OVERLAYS = ("baked", "git-sync")


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def by_kind(path: Path) -> dict[str, dict[str, Any]]:
    return {one["kind"]: one for one in documents(path)}


def merged(base: Any, top: Any) -> Any:
    """As Helm lays one values file over another: mappings merge, the rest is replaced."""
    if not (isinstance(base, dict) and isinstance(top, dict)):
        return top
    return base | {key: merged(base.get(key), below) for key, below in top.items()}


def values(overlay: str) -> dict[str, Any]:
    found: dict[str, Any] = merged(
        yaml.safe_load((HELM / "values.yaml").read_text()),
        yaml.safe_load((HELM / f"values-{overlay}.yaml").read_text()),
    )
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", sorted(KUBERNETES.glob("*.yaml")), ids=lambda path: path.stem)
def test_kubernetes_accepts_it(path: Path, version: str) -> None:
    for one in documents(path):
        kubernetes_validate.validate(one, version, strict=True)
        assert one["metadata"]["namespace"] == NAMESPACE


def test_the_rights_are_what_starting_a_pod_needs_and_no_more() -> None:
    found = by_kind(KUBERNETES / "rbac.yaml")
    rights = {rule["resources"][0]: set(rule["verbs"]) for rule in found["Role"]["rules"]}

    assert rights == {
        "pods": {"create", "delete", "get", "list", "patch", "watch"},
        "pods/log": {"get"},
        "events": {"get", "list", "watch"},
    }
    assert all(rule["apiGroups"] == [""] for rule in found["Role"]["rules"])
    assert set(found) == {"ServiceAccount", "Role", "RoleBinding"}  # nothing of the cluster's
    account = found["ServiceAccount"]["metadata"]["name"]
    assert [one["name"] for one in found["RoleBinding"]["subjects"]] == [account]
    assert found["RoleBinding"]["roleRef"]["name"] == found["Role"]["metadata"]["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_starts_pods_has_those_rights_and_not_the_charts(overlay: str) -> None:
    made = values(overlay)
    account = by_kind(KUBERNETES / "rbac.yaml")["ServiceAccount"]["metadata"]["name"]

    assert made["allowPodLaunching"] is False  # the chart's role has pods/exec
    for component in ("scheduler", "triggerer", "workers"):
        assert made[component]["serviceAccount"] == {"create": False, "name": account}


def test_the_example_secrets_have_keys_and_no_values() -> None:
    secrets = {
        one["metadata"]["name"]: one["stringData"]
        for one in documents(KUBERNETES / "secrets.example.yaml")
    }

    assert set(secrets) == {"nightshift", "nightshift-airflow"}
    assert {value for keys in secrets.values() for value in keys.values()} == {""}
    text = (KUBERNETES / "secrets.example.yaml").read_text()
    for keys in secrets.values():
        for key in keys:
            assert text.count(key) >= 2, f"{key} is not explained"


def test_what_a_pod_gets_from_the_secret_is_what_its_spec_must_not_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secrets = documents(KUBERNETES / "secrets.example.yaml")
    keys = next(one for one in secrets if one["metadata"]["name"] == NAMESPACE)["stringData"]
    ours = {key for key in keys if key.startswith("NIGHTSHIFT_")}

    for key in ours:
        secret = '{"secret": "hush"}' if key.endswith("OPTIONS") else "hush"
        monkeypatch.setenv(key, secret)
    monkeypatch.setenv("NIGHTSHIFT_LAKE__ROOT", "s3://lake")
    settings = Settings.load()
    assert settings.store.pseudonym_key is not None
    assert not ours & variables_of(settings).keys()  # from the secret, never from a pod's spec


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_charts_secrets_are_references_to_keys_that_exist(overlay: str) -> None:
    made = values(overlay)
    secrets = {
        one["metadata"]["name"]: set(one["stringData"])
        for one in documents(KUBERNETES / "secrets.example.yaml")
    }
    asked = {
        (made["fernetKeySecretName"], "fernet-key"),
        (made["apiSecretKeySecretName"], "api-secret-key"),
        (made["jwtSecretName"], "jwt-secret"),
        (made["data"]["metadataSecretName"], "connection"),
        *((one["secretName"], one["secretKey"]) for one in made["secret"]),
    }
    for volume in made["apiServer"]["extraVolumes"]:
        for item in volume.get("secret", {}).get("items", []):
            asked.add((volume["secret"]["secretName"], item["key"]))

    for secret, key in asked:
        assert key in secrets[secret], (secret, key)
    assert {secret for secret, _ in asked} == {"nightshift-airflow"}
    assert yaml.safe_load(made["extraEnvFrom"]) == [{"secretRef": {"name": "nightshift"}}]
    assert not {"fernetKey", "apiSecretKey", "jwtSecret", "extraSecrets"} & set(made)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_setting_exists(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = values(overlay)
    for one in made["env"]:
        monkeypatch.setenv(one["name"], one["value"])

    place = AirflowSettings()
    assert place.runner == "pod"
    assert (place.namespace, place.secret, place.gpu_pool) == (NAMESPACE, NAMESPACE, "gpu")
    assert place.pod_template is not None
    assert place.pod_template.relative_to("/opt/nightshift") == Path("deploy/pod-template.yaml")
    assert Settings.load().lake_root.startswith("s3://")
    for one in made["env"]:
        if one["name"].startswith(PREFIX):
            assert one["name"].removeprefix(PREFIX).lower() in AirflowSettings.model_fields


def test_there_are_as_many_slots_as_gpus_and_the_pool_is_made() -> None:
    job = values("baked")["migrateDatabaseJob"]
    script = Path(job["args"][1]).relative_to("/opt/nightshift")

    assert (PROJECT / script).is_file()
    assert f"{script}" in (PROJECT / "Dockerfile").read_text()
    assert job["env"] == [{"name": "NIGHTSHIFT_AIRFLOW__GPU_SLOTS", "value": "1"}]


def test_the_dags_are_the_images_or_a_branchs() -> None:
    baked, synced = values("baked")["dags"], values("git-sync")["dags"]
    dockerfile = (PROJECT / "Dockerfile").read_text()

    assert baked["mountPath"] == "/opt/nightshift/dags"
    assert "COPY dags ./dags" in dockerfile
    assert not baked["gitSync"]["enabled"]
    assert synced["gitSync"]["enabled"]
    assert synced["gitSync"]["subPath"] == "dags"
    assert "DAGS_FOLDER" not in dockerfile  # a variable would win over the chart's folder


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_calls_a_script_that_only_airflows_own_image_has(overlay: str) -> None:
    """/entrypoint in the chart's probes, /clean-logs in its log groomers."""
    made = values(overlay)
    jobs = {"scheduler": "SchedulerJob", "triggerer": "TriggererJob"}
    jobs["dagProcessor"] = "DagProcessorJob"

    for component, job in jobs.items():
        probe = ["airflow", "jobs", "check", "--job-type", job, "--local"]
        assert made[component]["livenessProbe"]["command"] == probe
        assert made[component]["logGroomerSidecar"] == {"enabled": False}
    assert made["scheduler"]["startupProbe"]["command"][-2] == "SchedulerJob"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_are_closed(overlay: str) -> None:
    made = values(overlay)
    extra = made["apiServer"]["extraInitContainers"]

    assert made["securityContexts"]["pod"]["runAsNonRoot"] is True
    closed = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert made["securityContexts"]["containers"] == closed
    assert all(one["securityContext"] == closed for one in extra)


def test_the_network_policy_selects_the_stages_pods() -> None:
    policy = by_kind(KUBERNETES / "network-policy.yaml")["NetworkPolicy"]["spec"]

    assert policy["podSelector"]["matchLabels"] == {"app": "nightshift"}  # the operator's label
    assert policy["ingress"] == []
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
