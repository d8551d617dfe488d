"""What the services of the fake CryoSPARC 4 do: its documents, its functions by name, and its tables."""

from __future__ import annotations

import importlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .cryosparc_v4 import FakeV4

EMAIL, PASSWORD = "bridge@example.org", "secret"
FIELDS = {
    "volume.blob": [["path", "O"], ["shape", "3u4"], ["psize_A", "f4"]],
    "particle.alignments3D": [["pose", "3f4"], ["shift", "2f4"]],
    "mask.blob": [["path", "O"], ["shape", "3u4"], ["psize_A", "f4"]],
}


class V4RefusalError(Exception):
    """What a service says no to, with a status."""

    def __init__(self, status: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.status, self.data = status, data


# ---- documents


def sample_document(path: Path) -> dict[str, Any]:
    """The sample's job, which is one of version 5, as version 4 has it."""
    job = json.loads(path.read_text())
    groups, results = [], []
    for name, output in job["spec"]["outputs"].items():
        own = [_result(job["uid"], name, output["type"], one["name"], one["dtype"]) for one in output["results"]]
        for result, old in zip(own, output["results"], strict=True):
            result |= {"metafiles": old["metafiles"], "versions": old["versions"]}
        results += own
        groups.append(_group(name, output["type"], output["title"], own, False))
    document = _document("P1", job["uid"], "W1", job["title"], "", job["spec"]["type"])
    return document | {"status": job["status"], "output_result_groups": groups, "output_results": results}


def _document(project: str, job: str, workspace: str, title: str, description: str, type_: str) -> dict[str, Any]:
    return {
        "_id": "a" * 24,
        "uid": job,
        "uid_num": int(job[1:]),
        "project_uid": project,
        "type": type_,
        "job_type": type_,
        "title": title,
        "description": description,
        "status": "building",
        "deleted": False,
        "parents": [],
        "children": [],
        "input_slot_groups": [],
        "output_result_groups": [],
        "output_results": [],
        "workspace_uids": [workspace],
    }


def _result(job: str, group: str, type_: str, name: str, dtype: str) -> dict[str, Any]:
    full = f"{type_}.{dtype}"
    return {
        "uid": f"{job}-{group}-{name}",
        "type": full,
        "name": name,
        "group_name": group,
        "title": "",
        "description": "",
        "versions": [],
        "metafiles": [],
        "min_fields": FIELDS.get(full, []),
        "num_items": 0,
        "passthrough": False,
    }


def _group(name: str, type_: str, title: str, results: list[dict[str, Any]], passthrough: str | bool) -> dict[str, Any]:
    keys = ("uid", "type", "name", "group_name", "passthrough")
    return {
        "uid": f"G-{name}",
        "type": type_,
        "name": name,
        "title": title,
        "description": "",
        "contains": [{key: one[key] for key in keys} for one in results],
        "passthrough": passthrough,
        "num_items": 0,
        "summary": {},
    }


# ---- what the services do


class V4Deeds:
    """The functions of the services, by their names."""

    def __init__(self, fake: FakeV4) -> None:
        self.fake = fake

    def names(self, service: str) -> list[str]:
        prefix = f"{service}_"
        return [name.removeprefix(prefix) for name in dir(self) if name.startswith(prefix)]

    def job(self, project_uid: str, job_uid: str) -> dict[str, Any]:
        job = self.fake.jobs.get(job_uid) if project_uid == "P1" else None
        if job is None:
            raise V4RefusalError(404, f"Job {project_uid}-{job_uid} does not exist")
        return job

    # core

    def core_get_id_by_email_password(self, email: str, password: str) -> str | None:
        if email != EMAIL:
            return None
        if password != PASSWORD:
            raise V4RefusalError(400, f"wrong password {password} for {email}")
        return "b" * 24

    def core_get_running_version(self) -> str:
        return self.fake.version

    def core_get_project_dir_abs(self, project_uid: str) -> str:
        return str(self.fake.project)

    def core_get_job(self, project_uid: str, job_uid: str) -> dict[str, Any]:
        return self.job(project_uid, job_uid)

    def core_run_external_job(self, project_uid: str, job_uid: str, status: str) -> None:
        job = self.job(project_uid, job_uid)
        if job["status"] != "building":
            raise V4RefusalError(500, f"{job_uid} is {job['status']}")
        job["status"] = status

    def core_set_job_status(self, project_uid: str, job_uid: str, status: str) -> None:
        self.job(project_uid, job_uid)["status"] = status

    def core_job_send_streamlog(self, project_uid: str, job_uid: str, message: str, **more: Any) -> str:
        self.job(project_uid, job_uid)
        self.fake.logs.setdefault(job_uid, []).append({"message": message, **more})
        return "c" * 24

    def core_job_checkpoint_streamlog(self, project_uid: str, job_uid: str, meta: dict[str, Any]) -> str:
        self.job(project_uid, job_uid)
        self.fake.logs.setdefault(job_uid, []).append({"checkpoint": meta})
        return "d" * 24

    # vis

    def vis_create_external_job(self, project_uid: str, workspace_uid: str, user: str, title: str, desc: str) -> str:
        if (project_uid, workspace_uid) != ("P1", "W1"):
            raise V4RefusalError(400, f"there is no {project_uid} {workspace_uid}")
        job_uid = f"J{max(int(name[1:]) for name in self.fake.jobs) + 1}"
        self.fake.jobs[job_uid] = _document(project_uid, job_uid, workspace_uid, title, desc, "snowflake")
        if self.fake.has_folders:
            (self.fake.project / job_uid).mkdir()
        return job_uid

    def vis_add_external_job_input(self, **asked: Any) -> None:
        job = self.job(asked["project_uid"], asked["job_uid"])
        _check_slots(asked)
        job["input_slot_groups"].append(
            {
                "type": asked["type"],
                "name": asked["name"],
                "title": asked["title"],
                "description": "",
                "count_min": asked["min"],
                "count_max": None if asked["max"] == "inf" else asked["max"],
                "repeat_allowed": False,
                "slots": [
                    {
                        "type": f"{asked['type']}.{one['dtype']}",
                        "name": one["prefix"],
                        "title": "",
                        "description": "",
                        "optional": not one["required"],
                    }
                    for one in asked["slots"]
                ],
                "connections": [],
            }
        )

    def vis_add_external_job_output(self, **asked: Any) -> None:
        job = self.job(asked["project_uid"], asked["job_uid"])
        if job["status"] not in ("building", "running", "waiting"):
            raise V4RefusalError(400, f"{job['uid']} is {job['status']}")
        _check_slots(asked)
        name, type_ = asked["name"], asked["type"]
        results = [_result(job["uid"], name, type_, one["prefix"], one["dtype"]) for one in asked["slots"]]
        own = {one["name"] for one in results}
        for connection in _connections(job, asked["passthrough"]):
            source = self.job("P1", connection["job_uid"])
            for one in source["output_results"]:
                if one["group_name"] == connection["group_name"] and one["name"] not in own:
                    results.append({**one, "group_name": name, "passthrough": True, "metafiles": []})
        job["output_results"] += results
        job["output_result_groups"].append(_group(name, type_, asked["title"], results, asked["passthrough"] or False))

    def vis_connect_external_job(self, **asked: Any) -> None:
        job = self.job(asked["project_uid"], asked["target_job_uid"])
        source = self.job(asked["project_uid"], asked["source_job_uid"])
        group = next(one for one in job["input_slot_groups"] if one["name"] == asked["target_input"])
        if len(group["connections"]) >= (group["count_max"] or 99):
            raise V4RefusalError(400, f"{asked['target_input']} is full")
        declared = {one["name"] for one in group["slots"]}
        group["connections"].append(
            {
                "job_uid": source["uid"],
                "group_name": asked["source_output"],
                "slots": [
                    {
                        "slot_name": one["name"] if one["name"] in declared else None,
                        "job_uid": source["uid"],
                        "group_name": one["group_name"],
                        "result_name": one["name"],
                        "result_type": one["type"],
                        "version": "F",
                    }
                    for one in source["output_results"]
                    if one["group_name"] == asked["source_output"]
                ],
            }
        )
        job["parents"].append(source["uid"])

    def vis_list_project_files(self, project_uid: str, prefix: str, recursive: bool) -> list[str]:
        if not self.fake.can_list:
            raise V4RefusalError(500, "cannot be listed")
        folder = self.fake.project / prefix
        return sorted(str(path.relative_to(self.fake.project)) for path in folder.iterdir())

    # files

    def load_input(self, project_uid: str, job_uid: str, input_name: str, slots: list[str]) -> bytes:
        columns: dict[str, Any] = {}
        for connection in _connections(self.job(project_uid, job_uid), input_name):
            source = self.job(project_uid, connection["job_uid"])
            for slot in connection["slots"]:
                name = slot["slot_name"] or slot["result_name"]
                if slots and name not in slots:
                    continue
                for column, values in self._columns(source, slot["group_name"], slot["result_name"]).items():
                    columns[column if column == "uid" else f"{name}/{column.partition('/')[2]}"] = values
        return b"".join(_dataset()(columns).stream(compression="lz4"))

    def save(self, job_uid: str, output: str, body: bytes) -> None:
        job = self.job("P1", job_uid)
        if job["status"] not in ("running", "waiting"):
            raise V4RefusalError(400, f"{job_uid} is {job['status']}")
        dataset = _dataset().load(io.BytesIO(body))
        results = [one for one in job["output_results"] if one["group_name"] == output]
        for one in results:
            if not one["passthrough"]:
                lacking = [f for f, _ in one["min_fields"] if f"{one['name']}/{f}" not in dataset.fields()]
                if lacking:
                    raise V4RefusalError(422, f"{one['name']}/{lacking[0]} is missing")
        own, passed = f"{job_uid}/{job_uid}_000_{output}.cs", f"{job_uid}/{job_uid}_passthrough_{output}.cs"
        (self.fake.project / job_uid).mkdir(exist_ok=True)
        dataset.save(str(self.fake.project / own))
        group = next(one for one in job["output_result_groups"] if one["name"] == output)
        if group["passthrough"]:
            (connection,) = _connections(job, group["passthrough"])
            columns: dict[str, Any] = {}
            for one in results:
                if one["passthrough"]:
                    columns |= self._columns(
                        self.job("P1", connection["job_uid"]), connection["group_name"], one["name"]
                    )
            _dataset()(columns).save(str(self.fake.project / passed))
        for one in results:
            one |= {"metafiles": [passed if one["passthrough"] else own], "versions": [0], "num_items": len(dataset)}

    def _columns(self, job: dict[str, Any], group: str, name: str) -> dict[str, Any]:
        result = next(one for one in job["output_results"] if (one["group_name"], one["name"]) == (group, name))
        table = np.load(self.fake.project / result["metafiles"][-1])
        wanted = [one for one in table.dtype.names if one == "uid" or one.startswith(f"{name}/")]
        return {
            one: table[one].astype(str).astype(object) if table[one].dtype.kind == "S" else table[one] for one in wanted
        }


def _connections(job: dict[str, Any], name: str | None) -> list[dict[str, Any]]:
    found = [one for one in job["input_slot_groups"] if one["name"] == name]
    return list(found[0]["connections"]) if found else []


def _check_slots(asked: dict[str, Any]) -> None:
    known = {"volume": ["blob"], "mask": ["blob"], "particle": ["blob", "ctf", "alignments3D", "location"]}
    wrong = [one for one in asked["slots"] if one["dtype"] not in known[asked["type"]]]
    if wrong:
        told = {"type": asked["type"], "valid": [], "invalid": wrong, "valid_dtypes": known[asked["type"]]}
        raise V4RefusalError(422, "slots", {"slots": told})


def _dataset() -> Any:
    return importlib.import_module("cryosparc.dataset").Dataset
