"""What an API server checks and computes without any state: selectors, patches, bodies."""

from __future__ import annotations

import json
import re
from typing import Any

import kubernetes_validate

Json = dict[str, Any]
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
_LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")
_TERM = re.compile(r"^(!?)([A-Za-z0-9./_-]+)(?:(=|==|!=)([A-Za-z0-9._-]*))?$")


class Refused(Exception):
    """The request is answered with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def selected(labels: Json, selector: str) -> bool:
    """Whether the labels satisfy a selector of the equality kind."""
    for term in filter(None, selector.split(",")):
        match = _TERM.match(term.strip())
        if match is None or (match[1] and match[3]):
            raise Refused(400, f"unable to parse requirement: {term!r}")
        absent, name, operator, value = match.groups()
        if not operator:
            fits = (name in labels) != bool(absent)
        else:
            fits = (labels.get(name) == value) == (operator != "!=")
        if not fits:
            return False
    return True


def merged(old: Any, change: Any) -> Any:
    """A merge patch; of lists (which the operator never patches) the new one wins."""
    if not isinstance(old, dict) or not isinstance(change, dict):
        return json.loads(json.dumps(change))
    result = dict(old)
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def well_formed(pod: Json, version: str) -> None:
    """Raises Refused(422) for what the schema or the API server's own checks do not let pass."""
    try:
        kubernetes_validate.validate(pod, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        raise Refused(422, f"{'.'.join(map(str, error.path))}: {error.message}") from None
    meta, spec = pod["metadata"], pod["spec"]
    if not _NAME.match(meta.get("name") or "") or len(meta["name"]) > 253:
        raise Refused(422, f"metadata.name: Invalid value: {meta.get('name')!r}")
    for name, value in (meta.get("labels") or {}).items():
        if not _LABEL.match(value):
            raise Refused(422, f"metadata.labels: Invalid value: {name}={value!r}")
    for name, value in (meta.get("annotations") or {}).items():
        if not isinstance(value, str):
            raise Refused(422, f"metadata.annotations: {name} is no string")
    volumes = [volume["name"] for volume in spec.get("volumes") or []]
    if len(set(volumes)) != len(volumes):
        raise Refused(422, f"spec.volumes: Duplicate value: {volumes}")
    for container in spec["containers"]:
        _container(container, set(volumes))


def _container(container: Json, volumes: set[str]) -> None:
    if not container.get("image"):
        raise Refused(422, f"spec.containers: {container['name']}: image: Required value")
    mounts = container.get("volumeMounts") or []
    for mount in mounts:
        if mount["name"] not in volumes:
            raise Refused(422, f"volumeMounts: Not found: {mount['name']!r}")
    paths = [mount["mountPath"] for mount in mounts]
    if len(set(paths)) != len(paths):
        raise Refused(422, f"volumeMounts: must be unique: {paths}")
    resources = container.get("resources") or {}
    for name, value in (resources.get("requests") or {}).items():
        if "/" in name and (resources.get("limits") or {}).get(name) != value:
            raise Refused(422, f"resources: {name}: requests must equal limits")
