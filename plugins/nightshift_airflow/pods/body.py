"""What a stage's pod is made of beyond its command: resources, nodes, volumes, and what is closed.

Three layers. What the shop's template says stays. A setting that is given wins over it. What both
leave open is then filled: no privileges, no token, a root file system that cannot be written, with
/scratch and /tmp as the pod's own space. So a template that forgets a line is as tight as ours, and
one that says otherwise in so many words is believed.
"""

from __future__ import annotations

from typing import Any

from kubernetes.client import models as k8s  # type: ignore[import-untyped]

from nightshift_airflow.pod_settings import PodSettings

SCRATCH, CACHE, TMP, SHM = "/scratch", "/scratch/models", "/tmp", "/dev/shm"  # noqa: S108
"""Where a pod may write. Models that were converted once lie below the home, in `models`."""
GROUP = 0
"""Of the image's user; volumes are made writable for it."""
_OWN_SPACE = {"NIGHTSHIFT_HOME": SCRATCH, "HOME": SCRATCH}


def finish(pod: Any, place: PodSettings, *, on_gpu: bool, deadline: float | None) -> Any:
    """Complete the merged pod in place.

    Args:
        pod: a V1Pod with one container at least; the first one is the stage's.
        on_gpu: the stage generates or trains.
        deadline: seconds that the pod may be active.
    """
    spec, container = pod.spec, pod.spec.containers[0]
    _resources(container, place, on_gpu)
    _nodes(spec, place, on_gpu)
    _volumes(spec, container, place, gpus=place.gpus if on_gpu else 0)
    if place.image_pull_secrets:
        spec.image_pull_secrets = [
            k8s.V1LocalObjectReference(name=name) for name in place.image_pull_secrets
        ]
    _fill(spec, "termination_grace_period_seconds", place.stop_seconds)
    _fill(spec, "active_deadline_seconds", None if deadline is None else max(1, int(deadline)))
    _close(spec, container, with_volume=bool(place.cache_claim))
    container.env = _one_of_each(
        [*(k8s.V1EnvVar(name=n, value=v) for n, v in _OWN_SPACE.items()), *(container.env or [])]
    )
    return pod


def _resources(container: Any, place: PodSettings, on_gpu: bool) -> None:
    cpu = (place.gpu_pod_cpu if on_gpu else None) or place.pod_cpu
    memory = (place.gpu_pod_memory if on_gpu else None) or place.pod_memory
    found = container.resources or k8s.V1ResourceRequirements()
    requests, limits = dict(found.requests or {}), dict(found.limits or {})
    if cpu:
        requests["cpu"] = cpu  # no limit: throttled training is slow, and others are served first
    if memory:
        requests["memory"] = limits["memory"] = memory
    if on_gpu and place.gpus:
        requests[place.gpu_resource] = limits[place.gpu_resource] = str(place.gpus)
    found.requests, found.limits = requests or None, limits or None
    container.resources = found


def _nodes(spec: Any, place: PodSettings, on_gpu: bool) -> None:
    chosen = {**place.node_selector, **(place.gpu_node_selector if on_gpu else {})}
    spec.node_selector = {**(spec.node_selector or {}), **chosen} or None
    borne = [*place.tolerations, *(place.gpu_tolerations if on_gpu else ())]
    spec.tolerations = [*(spec.tolerations or []), *borne] or None
    if place.affinity:
        spec.affinity = place.affinity


def _volumes(spec: Any, container: Any, place: PodSettings, *, gpus: int) -> None:
    def mount(name: str, path: str, **source: Any) -> None:
        if path not in {one.mount_path for one in container.volume_mounts or []}:
            named = {one.name for one in spec.volumes or []}
            name = name if name not in named else f"nightshift-{name}"
            spec.volumes = [*(spec.volumes or []), k8s.V1Volume(name=name, **source)]
            container.volume_mounts = [
                *(container.volume_mounts or []),
                k8s.V1VolumeMount(name=name, mount_path=path),
            ]

    empty = k8s.V1EmptyDirVolumeSource
    mount("scratch", SCRATCH, empty_dir=empty(size_limit=place.scratch_size))
    mount("tmp", TMP, empty_dir=empty())
    if place.cache_claim:
        claim = k8s.V1PersistentVolumeClaimVolumeSource(claim_name=place.cache_claim)
        mount("cache", CACHE, persistent_volume_claim=claim)
    elif place.cache_host_path:
        path = k8s.V1HostPathVolumeSource(path=str(place.cache_host_path), type="Directory")
        mount("cache", CACHE, host_path=path)
    if gpus > 1:  # workers of one training speak through shared memory; 64 MiB are the default
        mount("shm", SHM, empty_dir=empty(medium="Memory"))


def _close(spec: Any, container: Any, *, with_volume: bool) -> None:
    """Fill what nobody said; `False` and zero are said."""
    _fill(spec, "automount_service_account_token", False)
    _fill(spec, "enable_service_links", False)  # a Service's variables may look like settings
    whole = spec.security_context = spec.security_context or k8s.V1PodSecurityContext()
    own = container.security_context = container.security_context or k8s.V1SecurityContext()
    if own.run_as_non_root is None:
        _fill(whole, "run_as_non_root", True)
    if with_volume:
        _fill(whole, "fs_group", GROUP)
        _fill(whole, "fs_group_change_policy", "OnRootMismatch")
    if own.seccomp_profile is None:
        _fill(whole, "seccomp_profile", k8s.V1SeccompProfile(type="RuntimeDefault"))
    _fill(own, "read_only_root_filesystem", True)
    own.capabilities = own.capabilities or k8s.V1Capabilities()
    _fill(own.capabilities, "drop", ["ALL"])
    if not own.privileged:  # the two contradict each other, and the API server says so
        _fill(own, "allow_privilege_escalation", False)


def _fill(thing: Any, name: str, value: Any) -> None:
    if getattr(thing, name) is None:
        setattr(thing, name, value)


def _one_of_each(variables: list[Any]) -> list[Any]:
    """The last of the same name stays, as Kubernetes would have it."""
    return list({one.name: one for one in variables}.values())
